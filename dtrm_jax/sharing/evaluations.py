"""The evaluations of a run that a model card tells of: those of the parameters that are exported."""

import dataclasses
from typing import Any

from dtrm_jax.evaluation.files import results
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.tasks import Metric, Task

_OF_METRICS, _OF_ANALYSIS = ("step", "split", "corpus", "n"), ("intervals",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A score of an evaluation.

    Attributes:
        metric: What it is.
        value: As ``metrics.json`` has it.
        interval: Low and high; None if there is no interval.
    """

    metric: Metric
    value: float
    interval: tuple[float, float] | None

    @property
    def shown(self) -> str:
        """The score in print."""
        return self.metric.shown(self.value)

    @property
    def shown_interval(self) -> str:
        """The interval in print; empty if there is none."""
        return "" if self.interval is None else " to ".join(map(self.metric.shown, self.interval))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation of the exported parameters.

    Attributes:
        name: Of its folder: the split, or ``<split>@<name>`` for other data than the run was trained on.
        metrics: ``metrics.json``.
        analysis: ``analysis.json``; None if there is none.
        task: What was predicted.
    """

    name: str
    metrics: dict[str, Any]
    analysis: dict[str, Any] | None
    task: Task

    @property
    def scores(self) -> list[Score]:
        """The scores, the most prominent first."""
        intervals = {} if self.analysis is None else self.analysis["intervals"]
        result = []
        for metric in self.task.ranked_metrics:
            if self.metrics.get(metric.name) is not None:
                found = intervals.get(metric.name)
                interval = None if found is None or found["low"] is None else (found["low"], found["high"])
                result.append(Score(metric=metric, value=self.metrics[metric.name], interval=interval))
        return result


def read_evaluations(run: RunDirectory, task: Task, step: int) -> list[Evaluation]:
    """Returns the evaluations of the checkpoint of a step, test first, those of other data last.

    Raises:
        InputError: A file is damaged.
    """
    result = []
    for file in run.path.glob(f"eval/*/{results.METRICS}"):
        metrics = results.read(file, _OF_METRICS)
        if metrics.get("step") != step:
            continue
        analysis = file.with_name(results.ANALYSIS)
        result.append(
            Evaluation(
                name=file.parent.name,
                metrics=metrics,
                analysis=results.read(analysis, _OF_ANALYSIS) if analysis.exists() else None,
                task=task,
            )
        )
    order = ("test", "dev", "train")
    return sorted(result, key=lambda one: (*(one.name != name for name in order), one.name))
