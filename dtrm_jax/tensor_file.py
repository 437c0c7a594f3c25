"""Files of safetensors, read strictly: every array is expected, none is missing, and each has its shape and type."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors

from dtrm_jax.errors import InputError

FLOATS = ("F64", "F32", "F16", "BF16")


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a file, as ``safetensors.safe_open`` does for NumPy; what is damaged in it is one line.

    Nothing is read before it is asked for: a file may claim what it does not hold.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a complete safetensors file, found a damaged one ({reason})") from error


def check(
    path: str | os.PathLike,
    file: Any,
    names: Mapping[str, str],
    shapes: Mapping[str, Sequence[int]],
    *,
    holds: str,
    types: Collection[str] = FLOATS,
) -> None:
    """Checks that a file holds exactly the arrays that are expected.

    Args:
        path: The file.
        file: As ``opened`` yields it.
        names: Name -> the file's own name, of all its arrays that are to be explained.
        shapes: Name -> shape, of all arrays that are expected.
        holds: What it should hold, for the error: "the bert of config.json".
        types: The types that arrays may have, as the format calls them.

    Raises:
        InputError: Names the arrays that are missing, unexpected, of another shape (found and expected) or type.
    """
    problems = []
    if missing := [name for name in shapes if name not in names]:
        problems.append(f"missing {_listing(missing)}")
    if unexpected := [stored for name, stored in names.items() if name not in shapes]:
        problems.append(f"unexpected {_listing(unexpected)}")
    misshapen, mistyped = [], []
    for name, shape in shapes.items():
        if name in names:
            view = file.get_slice(names[name])
            if tuple(view.get_shape()) != tuple(shape):
                misshapen.append(f"{names[name]} (expected {list(shape)}, found {list(view.get_shape())})")
            elif view.get_dtype() not in types:
                mistyped.append(f"{names[name]} ({view.get_dtype()})")
    if misshapen:
        problems.append(f"wrong shape of {_listing(misshapen)}")
    if mistyped:
        expected = "floating point" if types == FLOATS else " or ".join(types)
        problems.append(f"expected {expected} in {_listing(mistyped)}")
    if problems:
        raise InputError(f"{path}: does not hold {holds}: {'; '.join(problems)}")


def finite(path: str | os.PathLike, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array; raises InputError that names it if it has NaN or infinity among its numbers."""
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: expected finite numbers, found NaN or infinity among them")
    return array


def _listing(names: Sequence[str], shown: int = 3) -> str:
    """Returns the first few names and how many there are."""
    rest = ", ..." if len(names) > shown else ""
    return f"{len(names)} array{'s' if len(names) > 1 else ''}: {', '.join(names[:shown])}{rest}"
