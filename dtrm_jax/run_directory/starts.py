"""``provenance.json``: the starts of a training, and what each ran on; a run may be resumed elsewhere.

    [{"command": [...], "versions": {...}, "code": {...}, "machine": {...}, "variables": {...},
      "starts": [{"time": "2026-01-02T03:04:05+00:00", "step": 0}]}]

One object per surrounding: starts in the same one follow each other in its list.
"""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json
from dtrm_jax.replacing import replacing

_WHAT = "the list of the starts of a training"


def read_starts(file: Path, *, damaged: bool = False) -> list[dict[str, Any]]:
    """Returns the surroundings in which a run was started, in order; empty in runs from before they were kept.

    Args:
        file: The file.
        damaged: Whether a damaged file is read as an empty one.

    Raises:
        InputError: The file is damaged.
    """
    if not file.exists():
        return []
    try:
        values = read_json(file, _WHAT)
        if not isinstance(values, list) or not all(map(_is_surrounding, values)):
            raise InputError(f"{file}: expected {_WHAT}, found something else")
    except InputError:
        if damaged:
            return []
        raise
    return values


def add_start(file: Path, step: int, surrounding: Mapping[str, Any]) -> str | None:
    """Adds a start that is made now.

    A file that is damaged is kept beside the new one: nothing that training needs is in it.

    Args:
        file: The file, which is made if it is missing.
        step: The training steps done before.
        surrounding: As ``dtrm_jax.provenance`` gives it.

    Returns:
        A line that says where a damaged file is now; None if all is well.
    """
    said = None
    try:
        known = read_starts(file)
    except InputError as error:
        kept = file.with_name(f"{file.name}.damaged")
        os.replace(file, kept)
        known, said = [], f"{error}; it is now {kept.name}, and training goes on"
    start = {"time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "step": step}
    if known and {**known[-1], "starts": None} == {**surrounding, "starts": None}:
        known[-1]["starts"].append(start)
    else:
        known.append({**surrounding, "starts": [start]})
    with replacing(file) as opened:
        opened.write(json.dumps(known, indent=1) + "\n")
    return said


def _is_surrounding(value: Any) -> bool:
    starts = value.get("starts") if isinstance(value, dict) else None
    if not isinstance(starts, list) or not starts:
        return False
    return all(isinstance(one, dict) and type(one.get("step")) is int and "time" in one for one in starts)
