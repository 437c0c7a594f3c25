"""What reading one file may cost: memory for what is built, and values when shared containers are written out."""

import sys
from typing import Any

import numpy as np

from dtrm_jax.safe_pickle.values import Refused

BYTES_PER_BYTE = 4  # of strings, numbers and arrays for each byte of the file, besides
SPARE_BYTES = 32 * 2**20  # which a file of any size may build
STRUCTURE_PER_BYTE = 24  # bytes of containers and of the memo for each byte of the file; small arrays need many
VALUES_PER_BYTE = 4  # counted with every repetition, for each byte of the file, besides
SPARE_VALUES = 2**18
SAME_HASH = 32  # keys of one container with the same hash, each compared with all others
REFERENCE = 8  # bytes of one entry of a list or a tuple


class Budget:
    """Counts what a file has built, and refuses what its size cannot account for.

    The field's files hold every value once, so that what is built is about as large as the file. A hostile file names
    one large value again and again: each name costs a few bytes, each copy the whole value.

    Args:
        file_bytes: Size of the file.
    """

    def __init__(self, file_bytes: int):
        self._file_bytes = file_bytes
        self._data = SPARE_BYTES + BYTES_PER_BYTE * file_bytes
        self._structure = SPARE_BYTES + STRUCTURE_PER_BYTE * file_bytes
        self._values = SPARE_VALUES + VALUES_PER_BYTE * file_bytes

    def spend_on(self, value: Any) -> None:
        """Takes the memory of a string, a number, bytes or a NumPy value.

        Raises:
            Refused: There is not as much left.
        """
        self._data -= value.nbytes if isinstance(value, np.ndarray) else sys.getsizeof(value)
        if self._data < 0:
            raise Refused(f"more values than a file of {self._file_bytes} bytes can hold, such as copies of one")

    def spend_on_structure(self, size: int) -> None:
        """Takes ``size`` bytes of containers, or of what is kept on them; raises Refused as ``spend_on`` does."""
        self._structure -= size
        if self._structure < 0:
            raise Refused(f"more containers than a file of {self._file_bytes} bytes can fill")

    def check_values(self, count: int) -> None:
        """Checks how many values are in a container, and in its containers and arrays, as often as they occur.

        Whoever prints or converts such a container walks that many values; four characters count as one.

        Raises:
            Refused: They are more than a file of this size may repeat.
        """
        if count > self._values:
            raise Refused(f"containers that repeat one another, more than {self._values} values in all")
