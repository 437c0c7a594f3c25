"""The files of a run directory that a report is drawn from."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.files.predictions import PredictedTurn, ValuedTurn
from dtrm_jax.run_directory import RunDirectory

AnyTurn = PredictedTurn | ValuedTurn


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One evaluation, as its files tell it.

    Attributes:
        folder: The run directory.
        config: Its config.
        metrics: ``metrics.json``.
        analysis: ``analysis.json``; None where emotions are real values.
        turns: ``predictions.csv``.
        labels: The emotions that its columns name.
        records: ``metrics.jsonl``; empty if there is none.
    """

    folder: Path
    config: Config
    metrics: dict[str, Any]
    analysis: dict[str, Any] | None
    turns: Sequence[AnyTurn]
    labels: LabelSpace | ValueSpace
    records: list[dict[str, Any]]


def read_evaluation(run: RunDirectory, split: str) -> Evaluation:
    """Reads what the evaluation of a split and the training left in a run directory.

    Raises:
        InputError: A file but ``metrics.jsonl`` is missing or damaged, or they are not of the same evaluation.
    """
    folder = run.evaluation(split)
    metrics = _read_json(folder / "metrics.json", ("corpus", "split", "step", "checkpoint", "n", "loss"))
    classes = "per_class" in metrics
    turns, labels = (predictions.read if classes else predictions.read_values)(folder / "predictions.csv")
    analysis = _read_json(folder / "analysis.json", ("shifts", "intervals", "calibration")) if classes else None
    scored = sum(is_labelled(turn) for turn in turns)
    for name, counted in {"metrics.json": metrics, "analysis.json": analysis}.items():
        if counted is not None and counted["n"] != scored:
            raise InputError(
                f"{folder / name}: expected the {scored} labelled turns of predictions.csv, found {counted['n']}; "
                "run eval.py again"
            )
    return Evaluation(run.path, run.read_config(), metrics, analysis, turns, labels, list(_records(run.metrics_file)))


def by_conversation(turns: Sequence[AnyTurn]) -> list[list[AnyTurn]]:
    """Returns the turns of each conversation, in the order of the file."""
    conversations: dict[str, list[AnyTurn]] = {}
    for turn in turns:
        conversations.setdefault(turn.dialogue_id, []).append(turn)
    return list(conversations.values())


def is_labelled(turn: AnyTurn) -> bool:
    """Whether the turn is annotated, with at least one value where emotions are real values."""
    if isinstance(turn, PredictedTurn):
        return turn.label is not None
    return any(value is not None for value in turn.labels)


def _read_json(file: Path, expected: Sequence[str]) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: expected the results of eval.py: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file}: not valid JSON: {error}") from error
    missing = [name for name in expected if not isinstance(values, dict) or name not in values]
    if missing:
        raise InputError(f"{file}: expected {', '.join(missing)}, found none; run eval.py again")
    return values


def _records(file: Path) -> Iterator[dict[str, Any]]:
    """Yields what can be read of ``metrics.jsonl``: a run that was moved or cut short still gets its report."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int) and "split" in record:
            yield record
