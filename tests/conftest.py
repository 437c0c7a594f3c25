"""JAX for tests: the CPU, eight virtual devices, programs that compile fast, and are kept from run to run.

The devices are set through JAX's config, not through the environment, so that commands run by tests see one device.
"""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The programs of tests are small and run a few times: with all of XLA's optimizations they would take four times as
# long to compile, which is longer than all else. XLA_FLAGS= keeps them. The commands that tests run inherit this, so
# that their results are the same bit for bit.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

import jax  # noqa: E402

import tests.checked  # noqa: E402, F401 - the import hook of pyproject.toml names it

# A shell starts what it runs in the background with Ctrl-C ignored, and the commands that tests interrupt inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

CACHE = Path(__file__).parents[1] / ".cache" / "jax_tests"

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spares the garbage collector what lives as long as the suite; tracing has it look there again and again."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="module")
def bag_of_words() -> Iterator[str]:
    """The name of a small model, where any would do: it is traced and compiled in a second."""
    from dtrm_jax.models import ARCHITECTURES  # not before the import hook
    from tests.own_model import BagOfWords

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "bag_of_words", BagOfWords)
        yield "bag_of_words"
