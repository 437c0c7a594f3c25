"""The clips of a table: which part of which recording each turn is."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers.columns import RECORDING
from dtrm_jax.data.readers.table_rows import Row, Table
from dtrm_jax.errors import InputError
from dtrm_jax.extraction.workers import Clip
from dtrm_jax.user_paths import expanded


class Place(NamedTuple):
    """The place of a turn with a clip.

    Attributes:
        split: Of the table.
        row: Its index in the table.
    """

    split: str
    row: int


def clips_of(tables: Mapping[str, Table]) -> dict[Place, Clip]:
    """Returns the clips of the turns that have one, in the order of the tables.

    A path is relative to its table. Without a start, a clip begins with its recording; without an end, it ends with it.

    Raises:
        InputError: A table has no column ``audio``, a cell is no path or no time, a clip ends before it starts, or not
            one of the files is there; names the row.
    """
    found: dict[Place, Clip] = {}
    for split, table in tables.items():
        if RECORDING[0] not in table.columns:
            near = columns_lib.nearest(RECORDING[0], [name for name in table.keys if name not in table.columns])
            raise InputError(
                f"{table.path}: expected a column audio with the file of each turn, found "
                f"{columns_lib.shown(table.keys)}; name yours, as in --columns=audio={near or 'NAME'}"
            )
        for index, row in enumerate(table.rows):
            if row.values.get("audio") is not None:
                found[Place(split, index)] = _clip(table, row)
    _require_any(tables, list(found.values()))
    return found


def _clip(table: Table, row: Row) -> Clip:
    name = row.values["audio"]
    if not isinstance(name, str) or "\0" in name:
        raise InputError(f"{table.at(row)}: audio: expected the path of a file, found {name!r:.40}")
    start, end = (_seconds(table, row, column) for column in ("start", "end"))
    if end is not None and end < (start or 0):
        raise InputError(
            f"{table.at(row)}: expected a clip to end after it starts, found {start or 0:g} s to {end:g} s"
        )
    path = table.path.parent / expanded(name.strip())
    return Clip(str(path.absolute()), start or 0.0, end)


def _seconds(table: Table, row: Row, column: str) -> float | None:
    value: Any = row.values.get(column)
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{table.at(row)}: {column}: expected seconds, as in 12.5, found {value!r:.40}")
    return seconds


def _require_any(tables: Mapping[str, Table], clips: Sequence[Clip]) -> None:
    """Raises InputError if no recording is there, as when all paths are relative to another folder."""
    train = tables["train"].path
    if not clips:
        raise InputError(f"{train}: expected the file of a recording in the column audio, found none")
    if not any(pathlib.Path(path).is_file() for path in dict.fromkeys(clip.path for clip in clips)):
        raise InputError(
            f"{train}: none of the files in the column audio is there, such as {clips[0].path}; paths are relative to "
            "the table"
        )
