"""Reading a pickle file into its value, or refusing it in one line."""

import mmap
import pathlib
import struct
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.safe_pickle.instructions import run
from dtrm_jax.safe_pickle.values import Refused, brief

MAX_BYTES = 4 * 2**30  # of a file; the field's largest feature pickles are below 2 GiB


def load(path: str | pathlib.Path) -> Any:
    """Returns the value pickled in a file, of builtin containers and scalars and NumPy arrays, scalars and dtypes.

    Strings of Python 2 are decoded as Latin-1; arrays come out in native byte order. Values nest at most `MAX_DEPTH`
    deep and never contain themselves.

    Args:
        path: A file of any pickle protocol, at most `MAX_BYTES` long.

    Raises:
        InputError: The file cannot be read, is damaged, or holds anything else; nothing in it has been executed.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a pickle file, found {'a folder' if path.is_dir() else 'none'}")
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise InputError(f"{path}: expected a pickle of 1 to {MAX_BYTES} bytes, found {size} bytes")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return run(content)
    except Refused as error:
        raise InputError(f"{path}: refused, only builtin and NumPy values are read: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error) as error:
        raise InputError(f"{path}: not a pickle, or damaged: {brief(str(error))}") from None
    except (MemoryError, RecursionError) as error:
        raise InputError(f"{path}: too large or too deeply nested to be read: {type(error).__name__}") from None
