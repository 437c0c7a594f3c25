"""The files of a run directory that a report is drawn from."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.json_file import read_json
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.run_directory.starts import read_starts
from dtrm_jax.tasks import PredictedTurn, Task

_METRICS = ("corpus", "split", "step", "checkpoint", "n", "loss")
_ANALYSIS = ("n", "shifts", "short", "intervals", "calibration")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """One evaluation, as its files tell it.

    Attributes:
        run: Name of the run.
        folder: The run directory.
        results: The folder of the evaluation.
        config: Its config.
        manifest: Its ``run.json``; None if there is none.
        metrics: ``metrics.json``.
        analysis: ``analysis.json``; None if the task has none.
        turns: ``predictions.csv``.
        task: What was predicted, as the columns and ``metrics.json`` tell.
        records: ``metrics.jsonl``; empty if there is none.
        starts: ``provenance.json``; empty if there is none, or it is damaged.
    """

    run: str
    folder: Path
    results: Path
    config: Config
    manifest: Manifest | None
    metrics: dict[str, Any]
    analysis: dict[str, Any] | None
    turns: Sequence[PredictedTurn]
    task: Task
    records: list[dict[str, Any]]
    starts: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def read_sources(run: RunDirectory, evaluation: str) -> Sources:
    """Reads what an evaluation and the training left in a run directory.

    Args:
        run: The run directory.
        evaluation: The name of the evaluation's folder.

    Raises:
        InputError: A file other than ``metrics.jsonl`` is missing or damaged, or they are not of the same evaluation.
    """
    folder = run.evaluation(evaluation)
    metrics = _read(folder / "metrics.json", _METRICS)
    turns, task = predictions.read(folder / "predictions.csv")
    task = task.with_neutral(metrics.get("neutral", ""))
    if task.default_metric not in metrics:
        raise InputError(f"{folder / 'metrics.json'}: expected {task.default_metric}, found none; evaluate again")
    analysis = _read(folder / "analysis.json", _ANALYSIS) if task.analysed else None
    scored = sum(turn.labelled for turn in turns)
    for name, counted in {"metrics.json": metrics, "analysis.json": analysis}.items():
        if counted is not None and counted["n"] != scored:
            raise InputError(
                f"{folder / name}: expected the {scored} labelled turns of predictions.csv, found {counted['n']}; "
                "evaluate again"
            )
    return Sources(
        run=run.name,
        folder=run.path,
        results=folder,
        config=run.read_config(),
        manifest=run.read_manifest() if run.manifest_file.exists() else None,
        metrics=metrics,
        analysis=analysis,
        turns=turns,
        task=task,
        # A run that was moved or cut short still gets its report.
        records=list(read_records(run.metrics_file, damaged=True)),
        starts=read_starts(run.starts_file, damaged=True),
    )


def by_conversation(turns: Sequence[PredictedTurn]) -> list[list[PredictedTurn]]:
    """Returns the turns of each conversation, in the order of the file."""
    conversations: dict[str, list[PredictedTurn]] = {}
    for turn in turns:
        conversations.setdefault(turn.conversation, []).append(turn)
    return list(conversations.values())


def _read(file: Path, expected: Sequence[str]) -> dict[str, Any]:
    values = read_json(file, "the results of an evaluation")
    missing = [name for name in expected if not isinstance(values, dict) or name not in values]
    if missing:
        raise InputError(f"{file}: expected {', '.join(missing)}, found none; evaluate again")
    return values
