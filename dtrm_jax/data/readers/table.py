"""People's own conversations: one table per split, or one file (``docs/own-data.md``).

A folder holds ``train``, and ``dev`` and ``test`` if there are any, each as csv, tsv, jsonl, json or parquet. Features
are columns of lists (jsonl, json, parquet) or arrays in ``<split>.npz``, one row for every turn of the table.
``labels.txt`` may list the classes in order.
"""

import dataclasses
import pathlib
import re
import unicodedata
from typing import NamedTuple

import numpy as np

from dtrm_jax import npz_file
from dtrm_jax.conversation import FEATURES, NO_LABELS, SPLITS, Conversation, Dataset, LabelSpace, ValueSpace
from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers import csv_file, table_rows, table_turns
from dtrm_jax.data.readers.columns import VALUE_PREFIX
from dtrm_jax.data.readers.table_files import LOADERS
from dtrm_jax.data.readers.table_rows import Table
from dtrm_jax.data.readers.table_turns import WHOLE, is_number
from dtrm_jax.errors import InputError

LABELS_FILE = "labels.txt"
_FRACTION = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
NAMES = ("conversation", "turn")  # arrays of texts beside the features, by which rows are known
# What the table of a split may be called; other names than the split's own are said.
_CALLED = {
    "train": ("train", "training"),
    "dev": ("dev", "development", "validation", "valid", "val"),
    "test": ("test", "testing"),
}


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: There is no training table, or more than one table of a split.
    """
    tables = tables_of(source)
    beside = [*(path.with_suffix(".npz") for path in tables.values()), tables["train"].with_name(LABELS_FILE)]
    return (*tables.values(), *(path for path in beside if path.is_file()))


def read(source: pathlib.Path, *, columns: str = "", labels: str = "") -> Dataset:
    """Reads the tables; conversations and turns are in the order in which their rows appear.

    Args:
        source: The folder of the tables, or one file, which is the training table.
        columns: The setting ``data.columns``: how the files call their columns, if not as the project does.
        labels: The setting ``data.labels``: the classes in order, in place of ``labels.txt``; or "none" for tables
            whose turns have no labels, or none that matter: then all turns are of one class of this name.

    Raises:
        InputError: A file is missing or malformed; names the file and the row.
    """
    paths = tables_of(source)
    labelled = labels.strip() != NO_LABELS
    tables = {split: _load(path, columns, labelled=labelled) for split, path in paths.items()}
    space, notes = _label_space(labels, tables) if labelled else (None, [])
    features = {split: features_of(table) for split, table in tables.items()}
    _check_sizes(tables, features)
    splits = {split: table_turns.conversations(table, space, features[split]) for split, table in tables.items()}
    called = [f"{path.name}: is read as the {split} split" for split, path in paths.items() if path.stem != split]
    notes = [*called, *table_rows.said(tables.values()), *notes]
    if space is None:
        space = LabelSpace((NO_LABELS,))
        splits = {split: tuple(map(_of_one_class, conversations)) for split, conversations in splits.items()}
    return Dataset("table", space, splits, notes=tuple(notes))


def _of_one_class(conversation: Conversation) -> Conversation:
    turns = tuple(dataclasses.replace(turn, label=NO_LABELS) for turn in conversation.turns)
    return dataclasses.replace(conversation, turns=turns)


def tables_of(source: pathlib.Path) -> dict[str, pathlib.Path]:
    """Returns the table of each split that has one.

    Args:
        source: The folder of the tables, or one file, which is the training table.

    Raises:
        InputError: There is no training table, or more than one table of a split.
    """
    if source.is_file():
        return {"train": source}
    found, there = {}, sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else []
    for split in SPLITS:
        wanted = {f"{name}{kind}" for name in _CALLED[split] for kind in LOADERS}
        paths = [path for path in there if path.name.casefold() in wanted]
        if len(paths) > 1:
            raise InputError(
                f"{source}: expected one table of the {split} split, found {paths[0].name}, {paths[1].name}"
            )
        if paths:
            found[split] = paths[0]
    if "train" not in found:
        raise InputError(f"{source}: expected train.csv, train.jsonl or train.parquet (docs/own-data.md), found none")
    return found


def _load(path: pathlib.Path, columns: str, *, labelled: bool) -> Table:
    text_needed = not path.with_suffix(".npz").is_file()
    table = table_rows.load(path, columns, text_needed=text_needed, labels_needed=labelled)
    if labelled and ("label" in table.columns) == bool(table.value_names()):
        near = columns_lib.nearest("label", [name for name, key in table.keys.items() if key not in table.columns])
        hint = f"; name yours, as in --config.data.columns=label={near}" if near and not table.value_names() else ""
        raise InputError(
            f"{path}: expected a column label, or else columns {VALUE_PREFIX}<name>, found both or neither in "
            f"{columns_lib.shown(table.keys)}{hint}"
        )
    return _with_class_names(table) if labelled else table


def _with_class_names(table: Table) -> Table:
    """Puts the names in place of whole numbers where the file itself names its classes.

    Other tables and lists of classes may have them in another order.
    """
    names = table.class_names
    if not names or "label" not in table.columns:
        return table
    rows = [row._replace(values={**row.values, "label": table_turns.class_of(table, row, names)}) for row in table.rows]
    if rows == table.rows:
        return table
    note = f"labels that are whole numbers are the classes that the file names: {_numbered(names)}"
    return dataclasses.replace(table, rows=rows, notes=(*table.notes, note))


def _numbered(names: tuple[str, ...]) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))


def _label_space(labels: str, tables: dict[str, Table]) -> tuple[LabelSpace | ValueSpace, list[str]]:
    """Returns the classes or the real values, and a note if whole numbers are positions in the classes."""
    train = tables["train"]
    for table in tables.values():
        if table.value_names() != train.value_names():
            raise InputError(
                f"{table.path}: expected the same {VALUE_PREFIX} columns as {train.path.name} "
                f"({', '.join(train.value_names()) or 'none'}), found {', '.join(table.value_names()) or 'none'}"
            )
    if train.value_names():
        if labels:
            raise InputError(f"config.data.labels: {train.path} has real values, not classes; leave it empty")
        for name in train.value_names():
            if _has_controls(name):
                raise InputError(f"{train.path}: expected columns in one line of text, found {name[:40]!r}")
        return ValueSpace(train.value_names()), []
    classes = _classes(labels, tables)
    names = classes.names
    for name in names:
        if _has_controls(name):
            raise InputError(f"{classes.where}: expected labels in one line of text, found {name[:40]!r}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"{classes.where}: expected labels, each once, found {len(names)}")
    numbers = False
    for table in tables.values():
        for row in table.rows:
            table_turns.class_of(table, row, names, classes.origin, positions=classes.listed)
            label = row.values["label"]
            numbers = numbers or (label is not None and label not in names)
    note = f"labels that are whole numbers are positions in {classes.origin}: {_numbered(names)}"
    return LabelSpace(names), [note] if numbers else []


def _has_controls(name: str) -> bool:
    """Whether a name of an emotion, which stands in tables, has control characters or separates lines."""
    return any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)


class _Classes(NamedTuple):
    """The classes, and what says so.

    Attributes:
        names: In order.
        where: What lists them, for the error of a list that is none.
        origin: The same without folders, for other messages.
        listed: Whether their order is stated, so that a whole number may be a position in it.
    """

    names: tuple[str, ...]
    where: str
    origin: str
    listed: bool = True


def _classes(labels: str, tables: dict[str, Table]) -> _Classes:
    train = tables["train"]
    file = train.path.with_name(LABELS_FILE)
    if labels:
        if file.is_file():
            raise InputError(f"{file}: config.data.labels lists the classes too; leave out one of them")
        names = tuple(name.strip() for name in labels.split(",") if name.strip())
        return _Classes(names, "config.data.labels", "config.data.labels")
    if file.is_file():
        names = tuple(name.strip() for name in csv_file.read_text(file).split("\n") if name.strip())
        return _Classes(names, str(file), LABELS_FILE)
    if train.class_names:
        return _Classes(train.class_names, train.path.name, train.path.name)
    for row in train.rows:
        label = row.values["label"]
        if label is not None and _FRACTION.fullmatch(label):  # as text, in a csv file
            raise InputError(
                f"{train.at(row)}: expected a name or a whole number as label, found {label[:40]!r}; real values are "
                f"columns {VALUE_PREFIX}<name>, and classes called so are to be listed"
            )
    found = {row.values["label"] for row in train.rows} - {None}
    numbers = all(map(WHOLE.fullmatch, found))
    names = tuple(sorted(found, key=lambda name: (int(name) if numbers else 0, name)))
    origin = f"{train.path.name} (or list all of them in {LABELS_FILE})"
    return _Classes(names, str(train.path), origin, listed=False)


def features_of(table: Table) -> dict[str, np.ndarray]:
    """Returns feature name -> float32 ``[N, M]``, NaN throughout where a row lacks it."""
    path = table.path.with_suffix(".npz")
    found = {name: _feature_column(table, name) for name in FEATURES if name in table.columns}
    if path.is_file():
        for name, array in arrays_of(path, table).items():
            if name in found:
                raise InputError(f"{path}: {name} is a column of {table.path.name} too; leave out one of them")
            with np.errstate(over="ignore"):  # what float32 cannot hold is not finite, and refused
                found[name] = array.astype(np.float32)
    for name, array in found.items():
        wrong = ~np.isfinite(array).all(axis=1) & ~np.isnan(array).all(axis=1)
        if wrong.any():
            row = table.rows[int(np.argmax(wrong))]
            raise InputError(f"{table.at(row)}: {name} features: expected finite numbers, or none at all")
    return found


def arrays_of(path: pathlib.Path, table: Table) -> dict[str, np.ndarray]:
    """Returns the features in an ``.npz`` file, ``[N, M]``, as they are there.

    Args:
        path: The file.
        table: The table beside it, of N rows.

    Raises:
        InputError: It cannot be read, or has an array of another name or of other rows; ``NAMES``, where both have
            them, tell the rows.
    """

    def check(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if name in NAMES:
            if shape != (len(table.rows),) or dtype.kind != "U":
                raise ValueError(f"expected {len(table.rows)} texts, one for each row of {table.path.name}")
            return
        if name not in FEATURES:
            raise ValueError(f"expected arrays named {', '.join(FEATURES)} alone, and {' and '.join(NAMES)}")
        if len(shape) != 2 or shape[0] != len(table.rows) or not shape[1] or dtype.kind not in "fiu":
            raise ValueError(
                f"expected numbers of shape ({len(table.rows)}, dimensions), one row for each of {table.path.name}, "
                f"found {dtype} {shape}"
            )

    arrays = npz_file.read(path, check)
    for name in (name for name in NAMES if name in arrays and name in table.columns):  # as the table itself has it
        for row, told in zip(table.rows, arrays[name].tolist(), strict=True):
            if row.values[name] != told:
                here, there = row.values[name][:40], told[:40]
                raise InputError(
                    f"{table.at(row)}: expected {name} {here!r} in {path.name} too, found {there!r}; the rows of both "
                    "must have one order"
                )
    return {name: arrays[name] for name in FEATURES if name in arrays}


def _feature_column(table: Table, name: str) -> np.ndarray:
    vectors, size = [], None
    for row in table.rows:
        vector = row.values.get(name)
        if vector is not None:
            numbers = isinstance(vector, list) and vector and all(map(is_number, vector))
            if not numbers or (size is not None and len(vector) != size):
                expected = "a list of numbers" if size is None else f"a list of {size} numbers"
                raise InputError(f"{table.at(row)}: {name}: expected {expected}, or nothing")
            size = len(vector)
        vectors.append(vector)
    if size is None:
        raise InputError(f"{table.path}: column {name}: expected a list of numbers in at least one row, found none")
    with np.errstate(over="ignore"):
        return np.array([[np.nan] * size if vector is None else vector for vector in vectors], np.float32)


def _check_sizes(tables: dict[str, Table], features: dict[str, dict[str, np.ndarray]]) -> None:
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
