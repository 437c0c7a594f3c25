"""The curves of training, from ``metrics.jsonl``."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from dtrm_jax.report.plot import Plot, Series, make_plot, thinned
from dtrm_jax.tasks import METRICS, Metric, Task

_POINTS = 200  # of a curve: as many as its width in the picture can tell apart
_STYLES = ("dotted", "dashed", "line")  # of the scores: as many curves as a small picture can tell apart

Records = Sequence[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DevRow:
    """An evaluation on dev; a number is None where it is not known.

    Attributes:
        step: Steps done.
        epoch: From 1.
        train_loss: Mean over the steps since the evaluation before.
        dev_loss: On dev.
        score: The dev metric that selects the checkpoint, as people read it.
    """

    step: int
    epoch: int | None
    train_loss: float | None
    dev_loss: float | None
    score: str


@dataclasses.dataclass(frozen=True)
class Training:
    """The plots and the table of a training.

    Attributes:
        plots: Of the losses, and of the dev scores.
        rows: The evaluations on dev.
        score: Title of the dev score.
        chosen: The score of the evaluated checkpoint on dev, if it was logged.
    """

    plots: list[Plot]
    rows: list[DevRow]
    score: str
    chosen: float | None


def training_curves(records: Records, task: Task, select_by: str, step: int) -> Training | None:
    """Returns the curves; None if nothing was logged.

    Args:
        records: Of ``metrics.jsonl``.
        task: What was predicted.
        select_by: Name of the dev metric that selected the checkpoint.
        step: Of the checkpoint.
    """
    train, dev = ([record for record in records if record["split"] == split] for split in ("train", "dev"))
    metric = METRICS[select_by]
    losses = [
        Series("training", "line", thinned(_points(train, "loss"), _POINTS)),
        Series("dev", "dotted", _points(dev, "loss")),
    ]
    scores = [
        Series(one.title, style, [(x, metric.scale * y) for x, y in _points(dev, one.name)])
        for one, style in zip((metric, *_others(dev, task, metric)), _STYLES, strict=False)
    ]
    mark = (step, f"step {step}")
    title = "Scores on dev" + (", percent" if metric.percent else "")
    plots = [
        make_plot(name, "step", [one for one in series if one.points], mark)
        for name, series in (("Loss", losses), (title, scores))
        if any(one.points for one in series)
    ]
    if not plots:
        return None
    chosen = next((_number(record, select_by) for record in dev if record["step"] == step), None)
    return Training(plots, _rows(train, dev, select_by), metric.title, chosen)


def _others(dev: Records, task: Task, metric: Metric) -> list[Metric]:
    """Returns the metrics that were logged and can share a picture with ``metric``: same scale, same direction."""
    return [
        one
        for one in task.ranked_metrics
        if one != metric
        and (one.percent, one.larger_is_better) == (metric.percent, metric.larger_is_better)
        and _points(dev, one.name)
    ]


def _rows(train: Records, dev: Records, select_by: str) -> list[DevRow]:
    rows, waiting, before = [], collections.deque(train), 0
    for record in dev:
        total, steps = 0.0, 0
        while waiting and waiting[0]["step"] <= record["step"]:
            logged = waiting.popleft()
            count, before = logged["step"] - before, logged["step"]
            if (loss := _number(logged, "loss")) is not None:  # the mean of so many steps
                total, steps = total + count * loss, steps + count
        rows.append(
            DevRow(
                step=record["step"],
                epoch=record.get("epoch"),
                train_loss=total / steps if steps else None,
                dev_loss=_number(record, "loss"),
                score=METRICS[select_by].shown(_number(record, select_by)),
            )
        )
    return rows


def _points(records: Records, name: str) -> list[tuple[float, float]]:
    values = ((record["step"], _number(record, name)) for record in records)
    return [(step, value) for step, value in values if value is not None]


def _number(record: dict[str, Any], name: str) -> float | None:
    value = record.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None
