"""``metrics.jsonl``: the log of training, one JSON object per line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import parse_json


def read_records(file: Path, *, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """Yields the records of a ``metrics.jsonl``; there are none if there is no such file.

    A last line that was cut off by a crash is left out.

    Args:
        file: The file.
        damaged: Whether other damaged lines are left out too, and records without a step and a split.

    Raises:
        InputError: Unless ``damaged``: a line before the last is not a JSON object.
    """
    lines = _lines(file)
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is not None and (not damaged or _is_of_training(record)):
            yield record
        elif not damaged and number < len(lines):
            raise InputError(f"{file}, line {number}: expected a JSON object, found {line[:40]!r}")


def damaged_lines(file: Path) -> list[int]:
    """Returns the numbers of the lines before the last that are no records of training."""
    records = [_record(line) for line in _lines(file)]
    return [number for number, record in enumerate(records[:-1], start=1) if not _is_of_training(record)]


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _is_of_training(record: dict[str, Any] | None) -> bool:
    return record is not None and isinstance(record.get("step"), int) and "split" in record
