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


def new_folder(path: str | os.PathLike) -> Path:
    """Returns the absolute path of a folder that is to appear complete, in place of an empty one if there is one.

    Raises:
        InputError: It is the current folder, which cannot be replaced under who is in it.
    """
    folder = Path(os.path.abspath(expanded(path)))
    if folder == Path.cwd():
        raise InputError(f"{os.fspath(path)}: is the current folder, which cannot be replaced; name a new one in it")
    return folder


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
