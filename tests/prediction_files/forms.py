"""The same rows in every form that a table has."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet

Rows = Sequence[dict[str, Any]]


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    """Returns the rows with a header; the columns are those of the first."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: Rows) -> bytes:
    """Returns an object per line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Rows) -> bytes:
    """Returns a Parquet file."""
    content = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), content)
    return content.getvalue()


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "csv": as_csv,
    "tsv": lambda rows: as_csv(rows, "\t"),
    "jsonl": as_jsonl,
    "json": lambda rows: json.dumps(list(rows), indent=1).encode(),
    "parquet": as_parquet,
}
