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
from dtrm_jax.data.readers.columns import PLAIN, TURNS, VALUE_PREFIX, alike, shown
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

    Of what stands both in a row and in its turns, the name of the conversation is the row's, all else is the turns'.

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
    turns = [
        (number, {name: row[name] for name in row if name != column}, _objects(file, number, column, row.get(column)))
        for number, row in file.rows
    ]
    outer = tuple(name for name in file.columns if name != column)
    inner = tuple(dict.fromkeys(name for _, _, objects in turns for own in objects for name in own))
    # A message's own id is no name of a conversation, and a turn without a label has not that of its row.
    named_by = named.get("conversation", "conversation")
    both = [name for name in outer if name in inner]
    of_row = [name for name in both if alike(name, named_by)]
    of_turns = [name for name in both if name not in of_row]
    rows = [
        ((number, place), {**row, **dict.fromkeys(of_turns), **own, **{name: row.get(name) for name in of_row}})
        for number, row, objects in turns
        for place, own in enumerate(objects, start=1)
    ]
    notes = [f"a row is a conversation, its turns are in {column}"]
    notes += [f"reads {', '.join(of_row)} of a row, not of its turns"] if of_row else []
    notes += [f"reads {', '.join(of_turns)} of the turns, not of their row"] if of_turns else []
    return dataclasses.replace(
        file, columns=tuple(dict.fromkeys(outer + inner)), rows=rows, notes=(*file.notes, *notes)
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


def with_conversations(rows: Rows) -> tuple[Rows, list[str]]:
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
