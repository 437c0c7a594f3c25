"""The results of an evaluation, ``metrics.json`` and ``analysis.json``, as they are read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_object

METRICS, ANALYSIS = "metrics.json", "analysis.json"


def read(file: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the content of either file.

    Args:
        file: Which.
        needed: The names that it must have.

    Raises:
        InputError: It is missing or damaged, or lacks a name.
    """
    values = read_object(file, "the results of an evaluation")
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(f"{file}: expected {', '.join(missing)}, found none; evaluate again")
    return values
