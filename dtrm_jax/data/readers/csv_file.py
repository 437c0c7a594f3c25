"""CSV files, strictly: UTF-8, a header, as many fields in every row."""

import csv
import io
import pathlib
from collections.abc import Iterator, Sequence

from dtrm_jax.errors import InputError


def rows(path: pathlib.Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line on which each row starts, and the row's values by column.

    Raises:
        InputError: The file cannot be read, a column is missing or repeated, or a row is malformed; names the line.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header, line = None, 1
    try:
        for row in reader:
            if row and header is None:
                header = _header(path, row, required)
            elif row and len(row) != len(header):
                raise InputError(f"{path}, line {line}: expected {len(header)} fields, found {len(row)}")
            elif row:
                yield line, dict(zip(header, row, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not a CSV row: {error}") from None


def read_text(path: pathlib.Path) -> str:
    """Returns the content of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: The file cannot be read, or is not UTF-8; names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: expected UTF-8, found byte 0x{error.object[error.start]:02x}") from None


def _header(path: pathlib.Path, row: list[str], required: Sequence[str]) -> list[str]:
    header = [name.strip() for name in row]
    wrong = [name for name in required if header.count(name) != 1]
    wrong += sorted({name for name in header if header.count(name) > 1 and name not in wrong})
    if wrong:
        raise InputError(f"{path}: expected each column once, missing or repeated: {', '.join(wrong)}")
    return header
