"""The files of people's own tables, each as its rows: csv, jsonl and parquet."""

import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError

VALUE_PREFIX = "value_"
FEATURES = tuple(MODALITIES.values())

# The number of a row (``table._Table.unit``) and its values by column, None where a cell is empty.
Rows = Iterator[tuple[int, dict[str, Any]]]


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; True and False are none."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _csv_rows(path: pathlib.Path) -> Rows:
    for line, row in csv_file.rows(path, ()):
        values: dict[str, Any] = {name: cell if cell.strip() else None for name, cell in row.items()}
        for name in values.keys() & FEATURES:
            raise InputError(f"{path}: column {name}: a csv file cannot hold features; put them into {path.stem}.npz")
        for name, cell in values.items():
            if name.startswith(VALUE_PREFIX) and cell is not None:
                values[name] = _number(cell)
        yield line, values


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell  # refused later, where the message can name it


def _jsonl_rows(path: pathlib.Path) -> Rows:
    for line, text in enumerate(csv_file.read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}, line {line}: not JSON: {error}") from None
        except RecursionError:
            raise InputError(f"{path}, line {line}: not a row: nested too deeply") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {line}: expected a JSON object, found {type(row).__name__}")
        yield line, row


def _parquet_rows(path: pathlib.Path) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"{path}: reading parquet needs pyarrow: pip install pyarrow") from None
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())[:120]}") from None
    yield from enumerate(rows, start=1)


LOADERS: dict[str, Callable[[pathlib.Path], Rows]] = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".parquet": _parquet_rows,
}
