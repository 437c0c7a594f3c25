"""The curves of training, from ``metrics.jsonl``."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dtrm_jax.report.plot import Plot, Series, make_plot, thinned

_POINTS = 200  # of a curve: as many as its width in the picture can tell apart
_STYLES = ("dotted", "dashed", "line")
_NAMES = {"weighted_f1": "weighted F1", "macro_f1": "macro F1", "pearson_r": "Pearson r", "mae": "MAE"}


@dataclasses.dataclass(frozen=True)
class Training:
    """What is shown of a training.

    Attributes:
        plots: Of the losses, and of the dev scores.
        rows: An evaluation on dev each: step, epoch, loss of training since the one before, dev loss, dev score; None
            where it is not known.
        score: What the dev score is called.
        chosen: The score of the evaluated checkpoint on dev, if it was logged.
    """

    plots: list[Plot]
    rows: list[tuple[int, int | None, float | None, float | None, float | None]]
    score: str
    chosen: float | None


def name_of(metric: str) -> str:
    """Returns what a metric is called in print."""
    return _NAMES.get(metric, metric)


def training_curves(records: Sequence[dict[str, Any]], metric: str, step: int) -> Training | None:
    """Returns the curves; None if nothing was logged.

    Args:
        records: Of ``metrics.jsonl``.
        metric: The dev metric that selected the checkpoint.
        step: Of the checkpoint.
    """
    train, dev = ([record for record in records if record["split"] == split] for split in ("train", "dev"))
    losses = [
        Series("training", "line", thinned(_points(train, "loss"), _POINTS)),
        Series("dev", "dotted", _points(dev, "loss")),
    ]
    others = [name for name in ("weighted_f1", "accuracy", "macro_f1") if name != metric and _points(dev, name)]
    factor = 1 if metric in ("pearson_r", "mae") else 100
    scores = [
        Series(name_of(name), style, [(x, factor * y) for x, y in _points(dev, name)])
        for name, style in zip((metric, *others), _STYLES, strict=False)
    ]
    mark = (step, f"step {step}")
    title = "Scores on dev" + (", percent" if factor == 100 else "")
    plots = [
        make_plot(name, "step", [one for one in series if one.points], mark)
        for name, series in (("Loss", losses), (title, scores))
        if any(one.points for one in series)
    ]
    if not plots:
        return None
    chosen = next((_number(record, metric) for record in dev if record["step"] == step), None)
    return Training(plots, _rows(train, dev, metric), name_of(metric), chosen)


def _rows(train: Sequence[dict], dev: Sequence[dict], metric: str) -> list[tuple]:
    rows, before = [], 0
    for record in dev:
        since = [loss for step, loss in _points(train, "loss") if before < step <= record["step"]]
        mean = sum(since) / len(since) if since else None
        rows.append((record["step"], record.get("epoch"), mean, _number(record, "loss"), _number(record, metric)))
        before = record["step"]
    return rows


def _points(records: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    values = ((record["step"], _number(record, name)) for record in records)
    return [(step, value) for step, value in values if value is not None]


def _number(record: dict[str, Any], name: str) -> float | None:
    value = record.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None
