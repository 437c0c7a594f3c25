"""NumPy's ``.npz`` files from anyone: what a file claims is checked before memory is taken for it.

Objects are never unpickled.
"""

import math
import os
import zipfile
from collections.abc import Callable
from typing import IO

import numpy as np

from dtrm_jax.errors import InputError

# (name, shape, dtype) of an array; raises ValueError, whose message is a part of a line.
Check = Callable[[str, tuple[int, ...], np.dtype], None]

_ENDING = ".npy"


def read(path: str | os.PathLike, check: Check) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name.

    Args:
        path: The file.
        check: Is asked about every array, and raises ValueError for one that is not wanted, before any is read.

    Raises:
        InputError: The file cannot be read, is no ``.npz`` file of plain arrays, or has an unwanted array; names both.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                with archive.open(member) as file:
                    _check(path, member, file, check)
            return {_name(member): _array(archive, member) for member in members}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever the libraries of archives and headers raise at a damaged one
        kind = "" if isinstance(error, zipfile.BadZipFile) else f" ({type(error).__name__})"
        expected = "expected a complete .npz file of NumPy arrays"
        raise InputError(f"{path}: {expected}, found a damaged one, or another file{kind}") from None


def _check(path: str | os.PathLike, member: zipfile.ZipInfo, file: IO[bytes], check: Check) -> None:
    name = _name(member)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if not member.filename.endswith(_ENDING) or version not in readers:
        raise InputError(f"{path}: {name}: expected an array of numbers")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise InputError(f"{path}: {name}: expected numbers, found Python objects, which are not read")
    bytes_left = member.file_size - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != bytes_left:
        raise InputError(f"{path}: {name}: says that it has the shape {shape} of {dtype}, and has {bytes_left} bytes")
    try:
        check(name, shape, dtype)
    except ValueError as error:
        raise InputError(f"{path}: {name}: {error}") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(_ENDING)
