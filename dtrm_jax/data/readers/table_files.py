"""The files of people's own tables, each as its rows under the file's own names: csv, jsonl, json and parquet.

Transcripts, lines of ``Speaker: text``, are read too where labels are not needed.
"""

import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError
from dtrm_jax.json_file import parse_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A table as its file has it.

    Attributes:
        path: The file.
        unit: What a row's number counts: "line" or "row".
        columns: Its columns, in order of first appearance.
        rows: (number, values by column), None where a cell is empty.
        notes: What was forgiven in reading it.
        class_names: Column -> the names of the classes that its whole numbers stand for, where the file says so.
        text_alone: Whether every value is text (csv).
    """

    path: pathlib.Path
    unit: str = "line"
    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, Any]]]
    notes: tuple[str, ...] = ()
    class_names: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    text_alone: bool = False


def read(path: pathlib.Path, kind: str = "", content: bytes | None = None) -> File:
    """Reads a table.

    Args:
        path: The file.
        kind: One of ``LOADERS``, or ``TRANSCRIPT``; if it is empty, the file's name says it.
        content: Of the file; if None, it is read.

    Raises:
        InputError: The file is of no known kind, cannot be read or is malformed; names the line.
    """
    loader = _transcript if kind == TRANSCRIPT else LOADERS.get(kind or path.suffix.lower())
    if loader is None:
        raise InputError(f"{path}: expected a file that ends in {', '.join(LOADERS)}")
    file = loader(path, csv_file.read_bytes(path) if content is None else content)
    if not file.rows:
        raise InputError(f"{path}: expected rows, found none")
    return file


def _csv(path: pathlib.Path, content: bytes, usual: str = ",") -> File:
    text = csv_file.decoded(path, content)
    delimiter = csv_file.delimiter_of(text)
    header, records = csv_file.parse(path, text, delimiter)
    csv_file.require_once(path, header)
    rows = [(line, csv_row(header, cells)) for line, cells in records]
    named = csv_file.DELIMITERS[delimiter]
    notes = (f"its fields are separated by {named}",) if delimiter != usual and len(header) > 1 else ()
    return File(path=path, columns=tuple(header), rows=rows, notes=notes, text_alone=True)


def csv_row(header: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Returns the columns of a row of a csv file; None where a cell is empty or blank."""
    return {name: cell if cell.strip() else None for name, cell in zip(header, cells, strict=True)}


def _tsv(path: pathlib.Path, content: bytes) -> File:
    return _csv(path, content, usual="\t")


def _jsonl(path: pathlib.Path, content: bytes) -> File:
    return _of_objects(path, list(_json_lines(path, csv_file.decoded(path, content))))


def _json(path: pathlib.Path, content: bytes) -> File:
    """Reads a list of objects, or lines of objects, which files of this name may hold too."""
    text = csv_file.decoded(path, content)
    first, _, others = text.strip().partition("\n")
    if first.startswith("{") and (first.rstrip().endswith("}") or not others):
        return _of_objects(path, list(_json_lines(path, text)), "reads an object on every line, as in jsonl")
    content = _parsed(path, text, "")
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a list of JSON objects, found {type(content).__name__}")
    for number, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}, row {number}: expected a JSON object, found {type(row).__name__}")
    return dataclasses.replace(_of_objects(path, list(enumerate(content, start=1))), unit="row")


def _json_lines(path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        yield line, json_row(path, line, written)


def json_row(path: pathlib.Path, line: int, text: str) -> dict[str, Any]:
    """Returns the object on a line of a jsonl file; raises InputError if there is none."""
    row = _parsed(path, text, f", line {line}")
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {line}: expected a JSON object, found {type(row).__name__}")
    return row


def _parsed(path: pathlib.Path, text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}{where}: {error}") from None


def _of_objects(path: pathlib.Path, rows: list[tuple[int, dict[str, Any]]], *notes: str) -> File:
    return File(path=path, columns=_columns(row for _, row in rows), rows=rows, notes=notes)


def _columns(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    return tuple(columns)


def _transcript(path: pathlib.Path, content: bytes) -> File:
    lines = transcript_lines(csv_file.decoded(path, content))
    rows = [(line, transcript_row(path, line, text)) for line, text in lines]
    return File(path=path, columns=("speaker", "text"), rows=rows)


def transcript_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields the number and the text of the lines of a transcript that are not blank.

    Lines end as files have it everywhere: utterances may hold what ``str.splitlines`` splits at besides.
    """
    return ((number, line) for number, line in enumerate(io.StringIO(text, newline=None), start=1) if line.strip())


def transcript_row(path: pathlib.Path, line: int, text: str) -> dict[str, Any]:
    """Returns speaker and text of a line of a transcript; raises InputError if it has none."""
    speaker, colon, words = (part.strip() for part in text.partition(":"))
    if not colon:
        raise InputError(f"{path}, line {line}: expected Speaker: text, found {text.strip()[:40]!r}")
    return {"speaker": speaker or None, "text": words or None}


def _parquet(path: pathlib.Path, content: bytes) -> File:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"{path}: reading parquet needs pyarrow: pip install pyarrow") from None
    try:
        # Without threads: those of pyarrow may abort a process that has threads of JAX too, when it ends.
        table = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
        table.validate(full=True)  # or texts that are no UTF-8 and offsets out of their arrays come later
        rows = list(enumerate(table.to_pylist(), start=1))
    except Exception as error:  # values may be of many types, each with errors of its own
        raise InputError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())[:120]}") from None
    described = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    return File(
        path=path, unit="row", columns=tuple(table.column_names), rows=rows, class_names=_class_names(described)
    )


def _class_names(described: bytes) -> dict[str, tuple[str, ...]]:
    """Returns column -> names of its classes, from what Hugging Face's datasets write into a parquet file."""
    try:
        features = parse_json(described.decode())["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found: dict[str, tuple[str, ...]] = {}

    def visit(column: str, feature: Any) -> None:
        if isinstance(feature, list):
            for part in feature:
                visit(column, part)
        elif isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            found[column] = tuple(map(str, feature.get("names") or ()))
        elif isinstance(feature, dict):
            for name, part in feature.items():
                visit(column if name == "feature" else name, part)

    visit("", features)
    return {column: names for column, names in found.items() if names}


TRANSCRIPT = ".txt"
LOADERS: dict[str, Callable[[pathlib.Path, bytes], File]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
