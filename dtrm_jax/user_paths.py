"""Paths as users write them, where ``~`` is the home folder, and the folder of what is kept between runs."""

import os
from pathlib import Path

from dtrm_jax.errors import InputError


def expanded(path: str | os.PathLike) -> Path:
    """Returns a path with the home folder in place of ``~``.

    Raises:
        InputError: Nothing says where the home folder is, as for users of a container who have no account there.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{os.fspath(path)}: the home folder is not known; set $HOME, or give a path without ~"
        ) from None


def cache_folder(setting: str = "") -> Path:
    """Returns the folder of what is kept between runs.

    Args:
        setting: ``config.data.cache``; falls back to ``$DTRM_CACHE`` and then to ``~/.cache/dtrm_jax``.

    Raises:
        InputError: It is in the home folder, and nothing says where that is.
    """
    named = setting or os.environ.get("DTRM_CACHE")
    try:
        return expanded(named or "~/.cache/dtrm_jax")
    except InputError as error:
        raise InputError(f"{error} (as --config.data.cache=DIR or $DTRM_CACHE)") from None
