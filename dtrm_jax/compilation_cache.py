"""Compiled programs are kept between processes, in the project's cache folder."""

import os
from pathlib import Path

import jax


def keep_compilations() -> None:
    """Lets JAX keep programs that took a second or more to compile in ``<cache>/xla``.

    The folder is ``$DTRM_CACHE``, or else ``~/.cache/dtrm_jax``. Where JAX has been given a folder already, it stays,
    and ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps nothing, as ever.
    """
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("DTRM_CACHE") or "~/.cache/dtrm_jax").expanduser() / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
