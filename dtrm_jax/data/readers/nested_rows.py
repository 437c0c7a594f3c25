"""Tables with one row per conversation, spread into one row per turn.

There are two such forms. Columns may be lists of the same length, as in Hugging Face's datasets:
``{"text": ["Hi.", "Oh."], "speaker": ["Ann", "Bob"], "label": [0, 3]}``. Or one column, ``turns``, is a list of objects
(or an object of lists): ``{"turns": [{"speaker": "Ann", "text": "Hi."}, {"speaker": "Bob", "text": "Oh."}]}``.
"""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from dtrm_jax.conversation import FEATURES
from dtrm_jax.data.readers.columns import PLAIN, TURNS, VALUE_PREFIX, shown
from dtrm_jax.data.readers.table_files import File
from dtrm_jax.errors import InputError, did_you_mean

# The line or row of the file; or the same with the turn in it, from 1, if a row is a conversation.
Number = int | tuple[int, int]
Rows = list[tuple[Number, dict[str, Any]]]


def place(path: pathlib.Path, unit: str, number: Number) -> str:
    """Names a row in a message."""
    line, turn = number if isinstance(number, tuple) else (number, None)
    return f"{path}, {unit} {line}" + ("" if turn is None else f", turn {turn}")


def with_turns_as_rows(file: File, named: Mapping[str, str]) -> File:
    """Spreads a column of turns; what else a row has belongs to each of its turns. Other files are left as they are.

    Args:
        file: A table.
        named: The project's name -> the file's; ``turns`` may be one of them.

    Raises:
        InputError: The column that is named is missing, or is no list of objects; names the row.
    """
    column = named.get(TURNS, TURNS)
    if column not in file.columns:
        if TURNS in named:
            hint = did_you_mean(column, file.columns)
            raise InputError(f"{file.path}: expected a column {column} for turns, found {shown(file.columns)}{hint}")
        return file
    if TURNS not in named and not any(_is_objects(row.get(column)) for _, row in file.rows):
        return file  # a column of that name that is something else
    rows, inner = [], {}
    for number, row in file.rows:
        outer = {name: value for name, value in row.items() if name != column}
        for turn, own in enumerate(_objects(file, number, column, row.get(column)), start=1):
            inner.update(dict.fromkeys(own))
            rows.append(((number, turn), {**outer, **own}))
    outer = {name: None for name in file.columns if name != column}
    return dataclasses.replace(
        file,
        columns=tuple(outer | inner),
        rows=rows,
        notes=(*file.notes, f"a row is a conversation, its turns are in {column}"),
    )


def with_lists_as_rows(path: pathlib.Path, unit: str, rows: Rows, columns: Collection[str]) -> tuple[Rows, list[str]]:
    """Spreads rows whose texts are lists. Other rows are returned as they are, without a note.

    The conversation, and columns that the project does not know and that are no lists of the same length, belong to
    each of the turns.

    Args:
        path: The file.
        unit: What a row's number counts.
        rows: By the project's names.
        columns: Those of them that the file has.

    Raises:
        InputError: Lists differ in length, are empty, or there is none in a row; names it.
    """
    leading = next((name for name in ("text", "speaker", "label") if name in columns), None)
    first = next((row[leading] for _, row in rows if leading and row.get(leading) is not None), None)
    if not isinstance(first, list):
        return rows, []
    spread: Rows = []
    for number, row in rows:
        where = place(path, unit, number)
        lists = {name: row.get(name) for name in row if name != "conversation" and _is_known(name)}
        lists = {name: value for name, value in lists.items() if value is not None}
        length = len(first) if isinstance(first := lists.get(leading), list) else 0
        wrong = {name: value for name, value in lists.items() if not isinstance(value, list) or len(value) != length}
        if wrong or not length:
            sizes = ", ".join(f"{_size(value)} {name}" for name, value in lists.items())
            raise InputError(f"{where}: expected lists of one length, at least 1, found {sizes or 'none'}")
        others = {name: value for name, value in row.items() if name not in lists}
        for turn in range(length):
            own = {name: value[turn] for name, value in lists.items()}
            parts = {name: value[turn] for name, value in others.items() if _is_list_of(value, length)}
            spread.append(((number, turn + 1), {**others, **parts, **own}))
    return spread, [f"a row is a conversation, with a list of its turns' {leading}s"]


def with_conversations(path: pathlib.Path, rows: Rows) -> tuple[Rows, list[str]]:
    """Names conversations that have no column for it by the number of their row, if a row is a conversation."""
    if not all(isinstance(number, tuple) for number, _ in rows):
        return rows, []
    named = [(number, {**row, "conversation": number[0]}) for number, row in rows if isinstance(number, tuple)]
    return named, ["has no column for the conversation, so that the number of its row names it"]


def _is_known(name: str) -> bool:
    return name in PLAIN or name in FEATURES or name.startswith(VALUE_PREFIX)


def _is_list_of(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length


def _size(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else "no list of"


def _is_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _objects(file: File, number: int, column: str, value: Any) -> list[dict[str, Any]]:
    """Returns the turns of a row as objects; an object of lists is turned into a list of objects."""
    where = place(file.path, file.unit, number)
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        if len(lists) < len(value) or len({len(part) for part in lists}) != 1:
            raise InputError(f"{where}: {column}: expected lists of one length, found {', '.join(value) or 'none'}")
        value = [dict(zip(value, parts, strict=True)) for parts in zip(*lists, strict=True)]
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise InputError(f"{where}: {column}: expected a list of turns, each a JSON object, and at least one of them")
    return value
