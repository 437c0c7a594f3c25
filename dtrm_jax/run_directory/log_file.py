"""``metrics.jsonl``: the log of training, one JSON object per line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError


def read_records(file: Path, *, damaged: bool = False) -> Iterator[dict[str, Any]]:
    """Yields the records of a ``metrics.jsonl``; there are none if there is no such file.

    A last line that was cut off by a crash is left out.

    Args:
        file: The file.
        damaged: Whether other damaged lines are left out too, and records without a step and a split.

    Raises:
        InputError: Unless ``damaged``: a line before the last is not a JSON object.
    """
    lines = (
        file.read_text(encoding="utf-8", errors="replace" if damaged else None).splitlines() if file.exists() else []
    )
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if damaged or number == len(lines):
                continue
            raise InputError(f"{file}, line {number}: expected a JSON object: {error}") from error
        if not damaged or (isinstance(record, dict) and isinstance(record.get("step"), int) and "split" in record):
            yield record
