"""Compiled programs are kept between processes, in the project's cache folder."""

import contextlib

from dtrm_jax.errors import InputError
from dtrm_jax.user_paths import cache_folder


def keep_compilations() -> None:
    """Lets JAX keep programs that took a second or more to compile in ``<cache>/xla``.

    The folder is ``$DTRM_CACHE``, or else ``~/.cache/dtrm_jax``. Where JAX has been given a folder already, it stays,
    and ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps nothing, as ever.
    """
    import jax  # which takes a while, and a command that only shows its help needs none of it

    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(InputError):  # without a home folder, nothing is kept
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
