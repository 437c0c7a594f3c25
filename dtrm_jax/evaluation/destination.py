"""Where the results of an evaluation go: ``eval/<split>/``, or ``eval/<split>@<name>/`` for data that is not the run's.

What the data's fingerprint is decides, not where the data lies. No evaluation replaces one of other data.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from dtrm_jax.config import DataConfig
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import results
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.user_paths import expanded

_LETTERS = 8  # of the digest that tells two sources of one name apart


def other_source(
    settings: DataConfig, trained_on: Mapping[str, str], found: Mapping[str, str], source: str | None
) -> str | None:
    """Returns the name of data that a run was not trained on; None if it is the run's own.

    Args:
        settings: The run's settings of its data.
        trained_on: Fingerprint of the data that the run was trained on; empty if it was not kept.
        found: Fingerprint of the data that was read.
        source: The folder or file that it was read from, if it was named.
    """
    place = source or settings.source
    if trained_on:
        own = trained_on == found
    else:  # what was named cannot be known to be the run's, so it replaces nothing of the run's
        own = source is None or expanded(source).resolve() == expanded(settings.source).resolve()
    if own:
        return None
    return expanded(place).resolve().name if place else settings.name


def destination(
    run: RunDirectory, split: str, data: Mapping[str, str], *, source: str | None, name: str | None
) -> Path:
    """Returns the folder for the results of an evaluation.

    Args:
        run: The run directory.
        split: What is evaluated.
        data: Fingerprint of the data.
        source: From ``other_source``.
        name: The part after ``<split>@``, if the user has chosen one.

    Raises:
        InputError: The chosen name is no name of a folder, or other data was evaluated under it.
    """
    if name is not None:
        if not name or _safe(name) != name:
            raise InputError(f"name: expected letters, digits, -, _ and . to name a folder, found {name!r}")
        folder = run.evaluation(f"{split}@{name}")
        if _holds_other(folder, data):
            raise InputError(f"{folder}: holds the evaluation of other data; choose another name")
        return folder
    if source is None:
        return run.evaluation(split)
    folder = run.evaluation(f"{split}@{_safe(source) or 'other'}")
    if not _holds_other(folder, data):
        return folder
    digest = hashlib.sha256(json.dumps(sorted(data.items())).encode()).hexdigest()[:_LETTERS]
    return folder.with_name(f"{folder.name}-{digest}")


def make_room(folder: Path, step: int) -> list[str]:
    """Takes the scores of another checkpoint out of a folder before an evaluation is written to it.

    Args:
        folder: From ``destination``.
        step: Of the checkpoint that is evaluated.

    Returns:
        What people should know of it: that another checkpoint was evaluated there.
    """
    file = folder / results.METRICS
    if not file.exists():
        return []
    try:
        before = results.read(file, ("step",))["step"]
    except InputError:
        before = None
    if before == step:  # the same results, which stay if writing them again fails
        return []
    file.unlink(missing_ok=True)
    return [f"{folder}: the results of step {step} replace those of {'others' if before is None else f'step {before}'}"]


def _holds_other(folder: Path, data: Mapping[str, str]) -> bool:
    """Whether a folder has the results of other data."""
    file = folder / results.METRICS
    return file.exists() and results.read(file).get("data") != dict(data)


def _safe(name: str) -> str:
    """Returns a name with everything replaced that a folder's name had better not have."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")
