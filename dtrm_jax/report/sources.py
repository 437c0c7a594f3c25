"""The files of a run directory that a report is drawn from."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions, results
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.run_directory.starts import read_starts
from dtrm_jax.tasks import PredictedTurn, Task

_OF_METRICS = ("corpus", "split", "step", "checkpoint", "n", "loss")
_OF_ANALYSIS = ("n", "shifts", "short", "intervals", "calibration")


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
    metrics = results.read(folder / results.METRICS, _OF_METRICS)
    turns, task = predictions.read(folder / "predictions.csv")
    task = task.with_neutral(metrics.get("neutral", ""))
    if task.default_metric not in metrics:
        raise InputError(f"{folder / results.METRICS}: expected {task.default_metric}, found none; evaluate again")
    analysis = results.read(folder / results.ANALYSIS, _OF_ANALYSIS) if task.analysed else None
    scored = sum(turn.labelled for turn in turns)
    for name, counted in {results.METRICS: metrics, results.ANALYSIS: analysis}.items():
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
