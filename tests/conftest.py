"""JAX for tests: the CPU, eight virtual devices, and compiled programs kept from run to run.

The devices are set through JAX's config, not through the environment, so that commands run by tests see one device.
"""

import os
import signal
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402

import tests.checked  # noqa: E402, F401 - the import hook of pyproject.toml names it

# A shell starts what it runs in the background with Ctrl-C ignored, and the commands that tests interrupt inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

CACHE = Path(__file__).parents[1] / ".cache" / "jax_tests"

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
