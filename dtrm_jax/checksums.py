"""``SHA256SUMS``: the SHA-256 of files of a folder, in the format of ``sha256sum``.

``sha256sum --check SHA256SUMS``, in the folder, checks them with other eyes. A folder without the file, from before
there was one, is taken as it is.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dtrm_jax.errors import InputError
from dtrm_jax.replacing import replacing

FILE = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_THREADS = 4  # hashing lets other threads run; few files of a checkpoint are large


def files(folder: Path) -> set[str]:
    """Returns the names of all files below a folder, but this one and hidden ones."""
    found = set()
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found |= {(Path(where) / name).relative_to(folder).as_posix() for name in files if not name.startswith(".")}
    return found - {FILE}


def write(folder: Path, names: Iterable[str], *, known: Iterable[str] = ()) -> None:
    """Writes the sums of files of a folder.

    Args:
        folder: The folder.
        names: The files, relative to it.
        known: Lines that were written before, to be kept.

    Raises:
        OSError: A file cannot be read, or there is no room for one more.
    """
    names = sorted(names)
    with ThreadPoolExecutor(_THREADS) as threads:
        sums = list(threads.map(lambda name: digest(folder / name), names))
    lines = [*known, *(f"{found}  {name}" for found, name in zip(sums, names, strict=True))]
    with replacing(folder / FILE) as file:
        file.writelines(f"{line}\n" for line in sorted(lines, key=lambda line: line.partition("  ")[2]))


def append(folder: Path, names: Collection[str]) -> None:
    """Adds the sums of files that were written later; a folder without sums is left as it is."""
    if not (folder / FILE).exists():
        return
    lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    listed = {line.partition("  ")[2] for line in lines}
    write(folder, [name for name in names if name not in listed and (folder / name).exists()], known=lines)


def read(folder: Path) -> dict[str, str] | None:
    """Returns the sums of a folder, by the names of the files; None if there are none.

    Raises:
        InputError: They are damaged.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected the SHA-256 of files, found a damaged file ({error})") from error
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    if not lines or None in lines or not text.endswith("\n"):
        raise InputError(f"{path}: expected the SHA-256 and the name of a file on each line, found a damaged file")
    return {line[2]: line[1] for line in lines}


def problem(folder: Path, names: Iterable[str] | None = None, *, later: Collection[str] = ()) -> str:
    """Returns what is wrong with files of a folder, beginning with the path of one; empty if nothing is.

    Args:
        folder: The folder.
        names: The files that are read. If None, it is all that are listed, and there must be no others, but hidden
            ones.
        later: Files that may be there though they are not listed.
    """
    try:
        expected = read(folder)
    except InputError as error:
        return str(error)
    if expected is None:
        return ""
    if names is None:
        found = files(folder)
        wanted = sorted({*expected, *found} - set(later)) + sorted(set(later) & expected.keys())
    else:  # a run's folder is large, and these are few
        wanted = sorted(names)
        found = {name for name in wanted if os.path.lexists(folder / name) and not os.path.isdir(folder / name)}
    for name in wanted:
        if name not in expected:
            return f"{folder / name}: expected no such file, as {FILE} beside it does not name it"
        if name not in found:
            return f"{folder / name}: expected this file, as {FILE} names it, found none"
    with ThreadPoolExecutor(_THREADS) as threads:
        for name, value in zip(wanted, threads.map(lambda name: _try_sum(folder / name), wanted), strict=True):
            if value != expected[name]:
                return (
                    f"{folder / name}: expected the content that was written (SHA-256 {expected[name][:12]}... in "
                    f"{FILE}), found another ({value[:12]}...): the file is damaged"
                )
    return ""


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _try_sum(path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        return str(error.strerror)
