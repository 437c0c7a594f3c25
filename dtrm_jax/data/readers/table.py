"""People's own conversations: one table per split, one row per turn (``docs/own-data.md``).

A folder holds ``train``, and ``dev`` and ``test`` if there are any, each as ``.csv``, ``.jsonl`` or ``.parquet``.
Features are columns of lists (jsonl, parquet) or arrays in ``<split>.npz``, one row for every row of the table.
``labels.txt`` may list the classes in order.
"""

import dataclasses
import math
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.conversation import SPLITS, Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data.readers import csv_file
from dtrm_jax.data.readers.table_files import FEATURES, LOADERS, VALUE_PREFIX, is_number
from dtrm_jax.errors import InputError

LABELS_FILE = "labels.txt"

_NAMES = ("conversation", "turn", "speaker")


@dataclasses.dataclass(frozen=True)
class _Table:
    """The rows of one split.

    Attributes:
        path: Its file.
        unit: What a row's number counts: "line" or "row".
        rows: (number, values by column), None where a cell is empty.
        columns: All columns of the file.
    """

    path: pathlib.Path
    unit: str
    rows: list[tuple[int, dict[str, Any]]]
    columns: frozenset[str]

    def at(self, number: int) -> str:
        """Names a row in a message."""
        return f"{self.path}, {self.unit} {number}"

    def value_names(self) -> tuple[str, ...]:
        """Returns the real-valued emotions that have a column, in alphabetical order."""
        return tuple(sorted(name.removeprefix(VALUE_PREFIX) for name in self.columns if name.startswith(VALUE_PREFIX)))


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: There is no training table, or more than one table of a split.
    """
    tables = _tables(source)
    features = (source / f"{split}.npz" for split in tables)
    return (*tables.values(), *(path for path in (*features, source / LABELS_FILE) if path.is_file()))


def read(source: pathlib.Path) -> Dataset:
    """Reads the tables; conversations and turns are in the order in which their rows appear.

    Args:
        source: The folder of the tables.

    Raises:
        InputError: A file is missing or malformed; names the file and the row.
    """
    tables = {split: _load(path) for split, path in _tables(source).items()}
    labels = _label_space(source, tables)
    features = {split: _features(source / f"{split}.npz", table) for split, table in tables.items()}
    _check_sizes(tables, features)
    splits = {split: _conversations(table, labels, features[split]) for split, table in tables.items()}
    return Dataset("table", labels, splits)


def _tables(source: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the table of each split that has one."""
    found = {}
    for split in SPLITS:
        paths = [path for kind in LOADERS if (path := source / f"{split}{kind}").is_file()]
        if len(paths) > 1:
            raise InputError(
                f"{source}: expected one table of the {split} split, found {paths[0].name}, {paths[1].name}"
            )
        if paths:
            found[split] = paths[0]
    if "train" not in found:
        raise InputError(f"{source}: expected train.csv, train.jsonl or train.parquet (docs/own-data.md), found none")
    return found


def _load(path: pathlib.Path) -> _Table:
    rows = list(LOADERS[path.suffix](path))
    if not rows:
        raise InputError(f"{path}: expected rows, found none")
    table = _Table(path, "row" if path.suffix == ".parquet" else "line", rows, frozenset().union(*(r for _, r in rows)))
    if missing := [name for name in _NAMES if name not in table.columns]:
        raise InputError(f"{path}: expected the columns {', '.join(_NAMES)}, missing: {', '.join(missing)}")
    if ("label" in table.columns) == bool(table.value_names()):
        raise InputError(
            f"{path}: expected a column label, or else columns {VALUE_PREFIX}<name>, found both or neither"
        )
    return table


def _label_space(source: pathlib.Path, tables: dict[str, _Table]) -> LabelSpace | ValueSpace:
    """Returns the classes of labels.txt or of the training table, or the real values that have columns."""
    train = tables["train"]
    for table in tables.values():
        if table.value_names() != train.value_names():
            raise InputError(
                f"{table.path}: expected the same {VALUE_PREFIX} columns as {train.path.name} "
                f"({', '.join(train.value_names()) or 'none'}), found {', '.join(table.value_names()) or 'none'}"
            )
    if train.value_names():
        return ValueSpace(train.value_names())
    path = source / LABELS_FILE
    if path.is_file():
        names = [name.strip() for name in csv_file.read_text(path).splitlines() if name.strip()]
        origin = LABELS_FILE
    else:
        path = train.path
        names = sorted({_label(train, number, row) for number, row in train.rows} - {None})
        origin = f"{path.name} (or list all of them in {LABELS_FILE})"
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path}: expected labels, each once, found {len(names)}")
    for table in tables.values():
        _check_labels(table, names, origin)
    return LabelSpace(tuple(names))


def _check_labels(table: _Table, names: Sequence[str], origin: str) -> None:
    for number, row in table.rows:
        label = _label(table, number, row)
        if label is not None and label not in names:
            raise InputError(f"{table.at(number)}: expected a label of {origin}, found {label[:40]!r}")


def _label(table: _Table, number: int, row: dict[str, Any]) -> str | None:
    label = row.get("label")
    if label is not None and not isinstance(label, str):
        raise InputError(f"{table.at(number)}: expected a name as label, found {label!r}")
    return (label or "").strip() or None


def _features(path: pathlib.Path, table: _Table) -> dict[str, np.ndarray]:
    """Returns feature name -> float32 ``[N, M]``, NaN throughout where a row lacks it."""
    found = {name: _feature_column(table, name) for name in FEATURES if name in table.columns}
    if path.is_file():
        for name, array in _read_npz(path).items():
            if name in found:
                raise InputError(f"{path}: {name} is a column of {table.path.name} too; leave out one of them")
            if array.ndim != 2 or len(array) != len(table.rows) or array.dtype.kind not in "fiu":
                raise InputError(
                    f"{path}: {name}: expected numbers of shape ({len(table.rows)}, dimensions), one row for each of "
                    f"{table.path.name}, found {array.dtype} {array.shape}"
                )
            found[name] = array.astype(np.float32)
    for name, array in found.items():
        wrong = ~np.isfinite(array).all(axis=1) & ~np.isnan(array).all(axis=1)
        if wrong.any():
            number = table.rows[int(np.argmax(wrong))][0]
            raise InputError(f"{table.at(number)}: {name} features: expected finite numbers, or none at all")
    return found


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if unknown := [name for name in arrays.files if name not in FEATURES]:
                raise InputError(f"{path}: expected arrays named {', '.join(FEATURES)}, found {', '.join(unknown)}")
            return {name: arrays[name] for name in FEATURES if name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as NumPy arrays: {error}") from None


def _feature_column(table: _Table, name: str) -> np.ndarray:
    vectors, size = [], None
    for number, row in table.rows:
        vector = row.get(name)
        if vector is not None:
            numbers = isinstance(vector, list) and vector and all(map(is_number, vector))
            if not numbers or (size is not None and len(vector) != size):
                expected = "a list of numbers" if size is None else f"a list of {size} numbers"
                raise InputError(f"{table.at(number)}: {name}: expected {expected}, or nothing")
            size = len(vector)
        vectors.append(vector)
    if size is None:
        raise InputError(f"{table.path}: column {name}: expected a list of numbers in at least one row, found none")
    return np.array([[np.nan] * size if vector is None else vector for vector in vectors], np.float32)


def _check_sizes(tables: dict[str, _Table], features: dict[str, dict[str, np.ndarray]]) -> None:
    """Checks that all splits have the same features."""
    sizes = {split: {name: x.shape[1] for name, x in found.items()} for split, found in features.items()}
    for split, found in sizes.items():
        if found != sizes["train"]:
            raise InputError(
                f"{tables[split].path}: expected the features of {tables['train'].path.name}, "
                f"{_described(sizes['train'])}, found {_described(found)}"
            )


def _described(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size} {name}" for name, size in sizes.items()) or "none"


def _conversations(
    table: _Table, labels: LabelSpace | ValueSpace, features: dict[str, np.ndarray]
) -> tuple[Conversation, ...]:
    turns: dict[str, dict[str, Turn]] = {}
    places: dict[str, list[int]] = {}
    for place, (number, row) in enumerate(table.rows):
        conversation, id, speaker = (_name(table, number, row, name) for name in _NAMES)
        own = turns.setdefault(conversation, {})
        if id in own:
            raise InputError(f"{table.at(number)}: conversation {conversation!r} has turn {id!r} twice")
        values = _values(table, number, row, labels.names) if isinstance(labels, ValueSpace) else ()
        text = _text(table, number, row, optional=bool(features))
        label = None if values else _label(table, number, row)
        own[id] = Turn(id=id, speaker=speaker, text=text, label=label, values=values)
        places.setdefault(conversation, []).append(place)
    return tuple(
        Conversation(name, tuple(own.values()), {key: array[places[name]] for key, array in features.items()})
        for name, own in turns.items()
    )


def _name(table: _Table, number: int, row: dict[str, Any], column: str) -> str:
    """Returns a name or a whole number as a string."""
    value = row.get(column)
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if value is None or value == "" else repr(value)[:40]
        raise InputError(f"{table.at(number)}: expected a name or a whole number as {column}, found {found}")
    return value.strip()


def _text(table: _Table, number: int, row: dict[str, Any], optional: bool) -> str:
    text = row.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f"{table.at(number)}: expected text, found {text!r}")
    if not (text or "").strip() and not optional:
        raise InputError(f"{table.at(number)}: text is empty, and there are no features instead")
    return text or ""


def _values(table: _Table, number: int, row: dict[str, Any], names: tuple[str, ...]) -> tuple[float | None, ...]:
    result = []
    for name in names:
        value = row.get(VALUE_PREFIX + name)
        if value is not None and not (is_number(value) and math.isfinite(value)):
            raise InputError(f"{table.at(number)}: {VALUE_PREFIX}{name}: expected a finite number, found {value!r}")
        result.append(None if value is None else float(value))
    return tuple(result)
