"""What was extracted so far, clip by clip, on disk: an SQLite file that survives the end of the process at any time.

A clip is there or not, never in part. What the last seconds brought may be missing after a power failure; what a
process has added stays when it is killed.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dtrm_jax.errors import InputError

_SCHEMA = "CREATE TABLE IF NOT EXISTS clips (place INTEGER PRIMARY KEY, features BLOB, reason TEXT)"


class Store:
    """Features, or the reasons why there are none, by the places of their clips.

    Args:
        path: The file, which is made if it does not exist.

    Raises:
        InputError: It is damaged, or cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        with self._named():
            self._database = sqlite3.connect(path, isolation_level=None)
            # One process alone, so that a log ahead of the file needs no shared memory, which network drives lack.
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute(_SCHEMA)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, place: int, result: np.ndarray | str) -> None:
        """Keeps the features of a clip, float32 ``[M]``, or why it has none."""
        reason, features = (result, None) if isinstance(result, str) else (None, result.astype("<f4").tobytes())
        with self._named():
            self._database.execute("INSERT OR REPLACE INTO clips VALUES (?, ?, ?)", (place, features, reason))

    def places(self) -> set[int]:
        """Returns the places of the clips that have features."""
        with self._named():
            return {place for (place,) in self._database.execute("SELECT place FROM clips WHERE reason IS NULL")}

    def results(self) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yields what was kept, in the order of places."""
        with self._named():
            for place, features, reason in self._database.execute("SELECT * FROM clips ORDER BY place"):
                yield place, np.frombuffer(features, "<f4") if reason is None else reason

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Makes an error of the database one that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise InputError(
                f"{self._path}: cannot be used: {error}; without its folder, extraction begins anew"
            ) from None
