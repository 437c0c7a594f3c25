"""Where a run may lie: paths that Orbax misreads, and links that lead out of the folder."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from dtrm_jax.errors import InputError


def check_place(path: Path, *, written: bool) -> None:
    """Checks that checkpoints can be kept in a folder.

    Orbax looks for the parts of a checkpoint by a pattern that begins with the folder's own path, so that a path with
    brackets finds nothing, and one with a star perhaps the checkpoints of another run. TensorStore takes ``gs:`` for a
    bucket, and reads a backslash as a slash.

    Args:
        path: The folder, absolute.
        written: Whether checkpoints are written; such that were moved to a path with brackets can be read.

    Raises:
        InputError: They cannot, or there is a file in place of the folder.
    """
    text = path.as_posix()
    reasons = {
        "[, * or ?": written and glob.escape(text) != text,
        "a backslash": "\\" in text,
        "gs:/": "gs:/" in text,
        "bytes that are no UTF-8": not _is_utf8(text),
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        mend = "choose another --workdir" if written else "move the run"
        raise InputError(f"{path}: expected a path without {found[0]}, from which no checkpoint can be read; {mend}")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected a folder of checkpoints, found a file; delete it, or move it away")


def check_links(folder: Path, names: tuple[str, ...]) -> None:
    """Checks that no file or folder leads out of a folder: it may come from others, and is read and written.

    Args:
        folder: It may be a link itself.
        names: Of the files and folders in it that are looked at; folders with all that is in them.

    Raises:
        InputError: There is a link that leads out; names it.
    """
    home = folder.resolve()
    for path in _below(folder, names):
        if path.is_symlink() and not (real := path.resolve()).is_relative_to(home):
            raise InputError(
                f"{path}: expected a file or folder of this run directory, found a link to {real}; move it here, or "
                "link the whole run directory"
            )


def _below(folder: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        yield folder / name
        for where, folders, files in os.walk(folder / name):
            yield from (Path(where) / one for one in (*folders, *files))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
