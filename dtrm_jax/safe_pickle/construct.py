"""NumPy values from what a pickle says of them: dtypes of numbers and strings, arrays over raw bytes, scalars."""

import math
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from dtrm_jax.safe_pickle.values import Refused, Unbuilt, brief

NDARRAY = "numpy.ndarray"  # stands for the class in _reconstruct's arguments; as a string it can do no harm elsewhere

_PLAIN_DTYPE = re.compile(r"[<>=|]?(\?|[biufc]\d{1,2}|[SU]\d{1,6})")


def _plain_dtype(code: Any, *_: Any) -> Unbuilt:
    """``numpy.dtype(code, align, copy)``, whose state brings the byte order."""
    if type(code) is not str or not _PLAIN_DTYPE.fullmatch(code):
        raise Refused(f"NumPy dtype {brief(code)}, only numbers, booleans and strings are read")
    dtype = np.dtype(code)

    def finish(state: Any) -> np.dtype:
        # (version, byte order, subarray, names, fields, item size, alignment, flags)
        plain = type(state) is tuple and len(state) == 8 and state[1] in ("<", ">", "=", "|")
        if not plain or state[2:5] != (None, None, None) or state[5] not in (-1, dtype.itemsize):
            raise Refused(f"a NumPy dtype {code!r} with fields, subarrays or an unknown layout")
        return dtype.newbyteorder(state[1])

    return Unbuilt(finish)


def _array(dtype: Any, shape: Any, order: str, raw: Any) -> np.ndarray:
    """Returns a new native array over ``raw``; the size is checked before NumPy sees it."""
    raw = raw.encode("latin-1") if type(raw) is str else raw  # Python 2 wrote bytes as strings
    if not isinstance(dtype, np.dtype) or type(raw) not in (bytes, bytearray):
        raise Refused("a NumPy value that is not made of raw bytes and a dtype")
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise Refused("a NumPy array without a shape")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"array of {len(raw)} bytes, expected {math.prod(shape)} values of {dtype.itemsize} bytes")
    if dtype.itemsize == 0:  # only the scalar "" has no bytes; an array of such strings could claim any length
        if shape != ():
            raise Refused("a NumPy array of items without size")
        return np.zeros((), dtype)
    array = np.ndarray(shape, dtype, raw, order=order).astype(dtype.newbyteorder("="))
    if dtype.kind == "U" and np.frombuffer(array.tobytes(), np.uint32).max(initial=0) > sys.maxunicode:
        raise ValueError("array of strings with a character beyond Unicode")
    return array


def _reconstruct(subtype: Any, *_: Any) -> Unbuilt:
    """``_reconstruct(ndarray, (0,), b"b")``; everything about the array is in its state."""
    if type(subtype) is not str or subtype != NDARRAY:
        raise Refused("a NumPy array of another class")

    def finish(state: Any) -> np.ndarray:
        if type(state) is not tuple or len(state) != 5:
            raise Refused("a NumPy array with an unknown state")
        _, shape, dtype, fortran, raw = state
        return _array(dtype, shape, "F" if fortran else "C", raw)

    return Unbuilt(finish)


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any, *axis_order: Any) -> np.ndarray:
    """How protocol 5 writes a contiguous array."""
    if order not in ("C", "F") or axis_order not in ((), (None,)):
        raise Refused("a NumPy array in an unknown order")
    return _array(dtype, shape, order, raw)


def _scalar(dtype: Any, raw: Any) -> np.generic:
    return _array(dtype, (), "C", raw)[()]


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols 0 to 2 write bytes; other codecs could decompress or compute."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise Refused("_codecs.encode with another codec than latin1")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """``bytes()``, how Python 3 writes empty bytes in protocols 0 to 2; taking no size, it cannot allocate."""
    return b""


# By the name that the file calls; each takes the arguments of the call.
CONSTRUCTIONS: dict[str, Callable[..., Any]] = {
    "numpy dtype": _plain_dtype,
    "_codecs encode": _encode,
    "__builtin__ bytes": _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # as spelled before and after NumPy 2
    CONSTRUCTIONS[f"{_core}.multiarray _reconstruct"] = _reconstruct
    CONSTRUCTIONS[f"{_core}.multiarray scalar"] = _scalar
    CONSTRUCTIONS[f"{_core}.numeric _frombuffer"] = _frombuffer
