"""CSV files, strictly: UTF-8, a header, as many fields in every row."""

import collections
import csv
import io
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dtrm_jax.errors import InputError

# What may separate the fields of a table, and its name; of equals, the first is taken.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_LONGEST = 2**31 - 1  # characters of a field, the largest number that every platform takes

# The line on which a row starts, and its fields.
Records = Iterator[tuple[int, list[str]]]


def require_once(path: pathlib.Path, columns: Sequence[str], required: Sequence[str] = ()) -> None:
    """Raises InputError if a column is there twice, or a required one is not there."""
    counts = collections.Counter(columns)
    wrong = [name for name in required if counts[name] != 1]
    wrong += sorted(name for name, count in counts.items() if count > 1 and name not in wrong)
    if wrong:
        raise InputError(f"{path}: expected each column once, missing or repeated: {', '.join(wrong)}")


def rows(path: pathlib.Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line on which each row starts, and the row's values by column.

    Raises:
        InputError: The file cannot be read, a column is missing or repeated, or a row is malformed; names the line.
    """
    found, cells_of_rows = parse(path, read_text(path))
    header = [name.strip() for name in found]
    require_once(path, header, required)
    for line, cells in cells_of_rows:
        yield line, dict(zip(header, cells, strict=True))


def parse(path: pathlib.Path, text: str, delimiter: str = ",") -> tuple[list[str], Records]:
    """Returns the header of a file as it is written, empty if there is none, and its rows, each as long as the header.

    Args:
        path: The file, for errors.
        text: Its content.
        delimiter: One of ``DELIMITERS``.

    Raises:
        InputError: The header is malformed; the iterator raises it for a malformed row. Names the line.
    """
    records = _records(path, text, delimiter)
    _, header = next(records, (1, []))
    return header, _as_long_as(path, len(header), records)


def reader(lines: Iterable[str], delimiter: str = ",", *, strict: bool = True) -> Any:
    """Returns ``csv.reader``'s iterator over rows, whose fields may be of any length: utterances may."""
    csv.field_size_limit(_LONGEST)  # of the process, 131,072 characters at first
    return csv.reader(lines, strict=strict, delimiter=delimiter)


def delimiter_of(text: str) -> str:
    """Returns the one of ``DELIMITERS`` that splits the first line that is not empty into most fields."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")

    def fields(delimiter: str) -> int:
        try:
            return len(next(reader([first], delimiter, strict=False), []))
        except csv.Error:  # which `parse` names
            return 0

    return max(DELIMITERS, key=fields)


def _records(path: pathlib.Path, text: str, delimiter: str) -> Records:
    records = reader(io.StringIO(text, newline=""), delimiter)
    line = 1
    try:
        for cells in records:
            if cells:
                yield line, cells
            line = records.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not a CSV row: {error}") from None


def _as_long_as(path: pathlib.Path, length: int, records: Records) -> Records:
    for line, cells in records:
        if len(cells) != length:
            raise InputError(f"{path}, line {line}: expected {length} fields, found {len(cells)}")
        yield line, cells


def read_text(path: pathlib.Path) -> str:
    """Returns the content of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: The file cannot be read, or is not UTF-8; names the line.
    """
    return decoded(path, read_bytes(path))


def read_bytes(path: pathlib.Path) -> bytes:
    """Returns the content of a file; raises InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def decoded(path: pathlib.Path, content: bytes) -> str:
    """Returns the text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: The file, for the error.
        content: Of it.

    Raises:
        InputError: It is not UTF-8; names the line.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: expected UTF-8, found byte 0x{error.object[error.start]:02x}") from None
