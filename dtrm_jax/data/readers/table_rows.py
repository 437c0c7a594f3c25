"""From one file to the rows of a table, one per turn, under the project's names.

A row is a turn; or a conversation, whose texts, speakers and labels are lists (Hugging Face's usual form) or whose
turns are a list of objects. What is forgiven on the way is kept as notes.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from dtrm_jax.conversation import FEATURES
from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers import nested_rows, table_files
from dtrm_jax.data.readers.columns import VALUE_PREFIX
from dtrm_jax.data.readers.nested_rows import Number
from dtrm_jax.errors import InputError

_NAMES = ("conversation", "turn", "speaker", "label")
_POINT_ZERO = re.compile(r"(-?\d+)\.0+", re.ASCII)


class Row(NamedTuple):
    """One turn.

    Attributes:
        number: Where it stands in the file.
        values: By ``Table.keys``; None where a cell is empty, as in a key that is not there. Names and labels are text,
            without spaces around it.
    """

    number: Number
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """The turns of one file.

    Attributes:
        path: The file.
        unit: What a row's number counts: "line" or "row".
        rows: One per turn, in the order of the file.
        keys: The file's columns, in its order -> their keys in a row: the project's names of those that are read, and
            the file's own names of the others.
        columns: The project's names of the columns that are there.
        notes: What was forgiven; ``said`` makes lines of them.
        class_names: The names of the classes that whole-number labels stand for, where the file says so.
    """

    path: pathlib.Path
    unit: str
    rows: list[Row]
    keys: dict[str, str]
    columns: frozenset[str]
    notes: tuple[str, ...]
    class_names: tuple[str, ...]

    def at(self, row: Row) -> str:
        """Names a row in a message."""
        return nested_rows.place(self.path, self.unit, row.number)

    def value_names(self) -> tuple[str, ...]:
        """Returns the real-valued emotions that have a column, in alphabetical order."""
        return tuple(sorted(name.removeprefix(VALUE_PREFIX) for name in self.columns if name.startswith(VALUE_PREFIX)))


def load(
    path: pathlib.Path,
    columns: str,
    *,
    kind: str = "",
    content: bytes | None = None,
    one_conversation: bool = False,
    text_needed: bool = True,
    labels_needed: bool = True,
    setting: str = columns_lib.SETTING,
) -> Table:
    """Reads the rows of a file.

    Args:
        path: The file: csv, tsv, jsonl, json or parquet.
        columns: The setting ``data.columns``; empty if the file uses the project's names.
        kind: As for ``table_files.read``.
        content: As for ``table_files.read``.
        one_conversation: Whether a file without a column for it is one conversation, named as the file is.
        text_needed: Whether there must be a text where the file has no features.
        labels_needed: Whether labels are looked at. If not, a column of them is like any other.
        setting: What ``columns`` is called in errors; ``--`` and it is the flag that they propose.

    Raises:
        InputError: The file cannot be read, lacks a column (which names those found and the nearest) or has a
            malformed row; names the file and the line.
    """
    named = columns_lib.parse(columns, setting)
    file = nested_rows.with_turns_as_rows(table_files.read(path, kind, content), named)
    named = {ours: theirs for ours, theirs in named.items() if ours != columns_lib.TURNS}
    names, forgiven = columns_lib.resolve(path, file.columns, named, setting)
    keys = {name: names.get(name) or (f"({name})" if name in names.values() else name) for name in file.columns}
    rows = [(number, {keys[name]: value for name, value in row.items()}) for number, row in file.rows]
    rows, lists = nested_rows.with_lists_as_rows(path, file.unit, rows, names.values())
    notes = [*file.notes, *forgiven, *lists]
    named_by: list[str] = []
    if "conversation" not in names.values():
        rows, named_by = _with_conversations(path, rows, one_conversation)
        notes += named_by
    text = ["text"] if text_needed and not _has_features(rows, names) else []
    required = [*([] if named_by else ["conversation"]), "speaker", *text]
    columns_lib.require(path, file.columns, names, required, setting)
    if file.text_alone:
        _read_numbers(path, rows, names)
    if "turn" not in names.values():
        near = columns_lib.nearest("turn", [name for name in file.columns if name not in names])
        though = f", although there is a column {near}" if near else ""
        notes.append(f"has no column for the turn, so that turns are numbered in their order{though}")
        notes += _beginning_again(path, file.unit, rows)
        rows = list(_numbered(rows))
    checked, cleaned = _checked(path, file.unit, rows, _NAMES if labels_needed else _NAMES[:-1])
    labelled = next((theirs for theirs, ours in names.items() if ours == "label"), "")
    return Table(
        path=path,
        unit=file.unit,
        rows=checked,
        keys=keys,
        columns=frozenset(names.values()),
        notes=(*notes, *cleaned),
        class_names=file.class_names.get(labelled, ()),
    )


def said(tables: Iterable[Table]) -> tuple[str, ...]:
    """Returns the notes on tables as whole lines, each once, with the names of the files that it is about."""
    about: dict[str, list[str]] = {}
    for table in tables:
        for note in table.notes:
            about.setdefault(note, []).append(table.path.name)
    return tuple(f"{', '.join(names)}: {note}" for note, names in about.items())


def _with_conversations(path: pathlib.Path, rows: nested_rows.Rows, one: bool) -> tuple[nested_rows.Rows, list[str]]:
    """Names the conversations of rows without a column for it, if that can be, and says how."""
    rows, named_by = nested_rows.with_conversations(rows)
    if named_by or not one:
        return rows, named_by
    rows = [(number, {**row, "conversation": path.stem}) for number, row in rows]
    return rows, ["has no column for the conversation, so that it is one"]


def _has_features(rows: list[tuple[Number, dict[str, Any]]], names: Mapping[str, str]) -> bool:
    there = [name for name in FEATURES if name in names.values()]
    return any(isinstance(row.get(name), list) for name in there for _, row in rows)


def _read_numbers(path: pathlib.Path, rows: list[tuple[Number, dict[str, Any]]], names: Mapping[str, str]) -> None:
    """Reads the real values of a csv file, whose cells are text."""
    for name in FEATURES:
        if name in names.values():
            raise InputError(
                f"{path}: column {name}: a csv file cannot hold features; put them into {path.stem}.npz, or name the "
                "columns that are read"
            )
    values = [name for name in names.values() if name.startswith(VALUE_PREFIX)]
    for _, row in rows:
        for name in values:
            if row[name] is not None:
                row[name] = _number(row[name])


def _number(cell: str) -> float | str:
    try:
        return cell if "_" in cell else float(cell)  # Python takes 1_0 for 10
    except ValueError:
        return cell  # refused later, where the message can name it


def _beginning_again(path: pathlib.Path, unit: str, rows: list[tuple[Number, dict[str, Any]]]) -> list[str]:
    """Returns a note if rows of other conversations stand between those of one, as if two had one name."""
    ended, last, again = set(), None, {}
    for number, row in rows:
        name = str(row.get("conversation")).strip()
        if name != last:
            ended.add(last)
            if name in ended:
                again.setdefault(name, number)
        last = name
    if not again:
        return []
    name, number = next(iter(again.items()))
    more = f", and {len(again) - 1} more do" if len(again) > 1 else ""
    where = nested_rows.place(path, unit, number).removeprefix(f"{path}, ")
    return [f"conversation {name[:40]!r} begins again in {where}{more}; look whether two have one name"]


def _numbered(rows: list[tuple[Number, dict[str, Any]]]) -> Iterator[tuple[Number, dict[str, Any]]]:
    """Names turns by their place in the conversation, from 1; in a row that is one, by their place in it."""
    counts: dict[Any, int] = {}
    for number, row in rows:
        conversation = str(row.get("conversation")).strip()
        counts[conversation] = counts.get(conversation, 0) + 1
        yield number, {**row, "turn": number[1] if isinstance(number, tuple) else counts[conversation]}


def _checked(
    path: pathlib.Path, unit: str, rows: list[tuple[Number, dict[str, Any]]], names: tuple[str, ...]
) -> tuple[list[Row], list[str]]:
    """Returns the rows with names and labels as text, and notes on how they were written."""
    spaces = points = 0
    checked = []
    for number, row in rows:
        for column in names:
            value = row.get(column)
            text, pointed = _name(value, column == "label")
            if text is None and (column != "label" or not _is_empty(value)):
                found = "nothing" if _is_empty(value) else repr(value)[:40]
                raise InputError(
                    f"{nested_rows.place(path, unit, number)}: expected a name or a whole number as {column}, found "
                    f"{found}"
                )
            spaces += isinstance(value, str) and text is not None and value != value.strip()
            points += pointed
            row[column] = text
        checked.append(Row(number, row))
    notes = []
    if spaces:
        notes.append(f"leaves out the spaces around {spaces} names")
    if points:
        notes.append(f"reads {points} whole numbers with a decimal point, such as 4.0, without it")
    return checked, notes


def _name(value: Any, label: bool) -> tuple[str | None, bool]:
    """Returns a name or a whole number as text, None if it is neither, and whether it had a decimal point."""
    if type(value) is int:
        return str(value), False
    if type(value) is float and value.is_integer():
        return str(int(value)), True
    if not isinstance(value, str):
        return None, False
    text = value.strip()
    if label and (whole := _POINT_ZERO.fullmatch(text)):
        return whole[1], True
    return text or None, False


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, str) and not value.strip())


def checked_row(path: pathlib.Path, line: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns one turn that comes by itself, checked as ``load`` checks those of a file, with its names as text.

    Args:
        path: The file, for errors.
        line: Its number.
        row: By the project's names, without a label, with the conversation and the turn; None where a cell is empty.

    Raises:
        InputError: A name is missing or is none; names the line.
    """
    (checked,), _ = _checked(path, "line", [(line, dict(row))], _NAMES[:-1])
    return checked.values
