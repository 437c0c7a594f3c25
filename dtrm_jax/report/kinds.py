"""The contents of a page that differ between kinds of emotions.

The parts of the page that differ are in ``templates/<kind>/``; a kind without such a folder has none of them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.evaluation.analysis.groups import SCORED, inter_shifts, intra_shifts
from dtrm_jax.report.plot import Plot, Series, make_plot
from dtrm_jax.report.sources import Sources
from dtrm_jax.tasks import METRICS, Classes, ClassTurn, PredictedTurn, Task, ValueTurn

WORST = 0.1  # share of the turns with real values that count as errors, those that are furthest off

Keys = set[tuple[str, str]]


class Kind:
    """Any other kind of emotions: only predictions and scores are shown.

    Attributes:
        sections: Of the page, besides those that every page has: id -> heading.
        note: Below the scores that have no interval.
    """

    sections: dict[str, str] = {}
    note: str = ""

    def groups(self, task: Task) -> tuple[str, ...]:
        """Returns the classes by which means over turns are grouped."""
        return ()

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the values that the kind's own templates receive."""
        return {}

    def errors(self, turns: Sequence[PredictedTurn]) -> Keys:
        """Returns the turns that count as errors."""
        return set()

    def shifts(self, turns: Sequence[PredictedTurn]) -> dict[str, Keys]:
        """Returns the name of each kind of emotion shift -> the turns where there is one."""
        return {}

    def right(self, turn: PredictedTurn) -> bool | None:
        """Returns whether the prediction is the annotation; None if that cannot be said."""
        return None

    def marks(self, turn: PredictedTurn) -> dict[str, str]:
        """Returns the data attributes of a turn, which the page's filter reads."""
        return {}

    def tally(self, labelled: int, errors: int) -> str:
        """Returns how well the turns of a conversation were predicted, in words."""
        return ""


class ClassKind(Kind):
    """Classes: confusions, shifts, calibration, and whether each turn is right."""

    sections = {"classes": "Classes", "confusions": "Confusions", "shifts": "Shifts", "calibration": "Calibration"}

    def groups(self, task: Task) -> tuple[str, ...]:
        """Returns all classes."""
        return task.labels.names

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the scores of the most frequent class, the plot of calibration, and the metrics of groups."""
        return {
            "majority": _majority(sources),
            "reliability": _reliability(sources.analysis),
            "scored": [METRICS[name] for name in SCORED],
        }

    def errors(self, turns: Sequence[ClassTurn]) -> Keys:
        """Returns the turns whose prediction is not the label."""
        return {turn.key for turn in turns if turn.label not in (None, turn.prediction)}

    def shifts(self, turns: Sequence[ClassTurn]) -> dict[str, Keys]:
        """Returns the paper's two kinds."""
        groups = {"Intra-ES": intra_shifts(turns), "Inter-ES": inter_shifts(turns)}
        return {name: {turn.key for turn in group} for name, group in groups.items()}

    def right(self, turn: ClassTurn) -> bool | None:
        """Returns whether the prediction is the label; None if there is no label."""
        return turn.label == turn.prediction if turn.labelled else None

    def marks(self, turn: ClassTurn) -> dict[str, str]:
        """Returns label and prediction."""
        return {"l": turn.label or "", "p": turn.prediction}

    def tally(self, labelled: int, errors: int) -> str:
        """Returns how many labelled turns are right."""
        return f"{labelled - errors} of {labelled} right"


class ValueKind(Kind):
    """Real values: scatters, and which turns are furthest off."""

    sections = {"targets": "Targets"}
    note = "mean over targets"

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the plots of predicted by annotated values, and the share of turns that count as errors."""
        return {"scatters": _scatters(sources), "worst": round(100 * WORST)}

    def errors(self, turns: Sequence[ValueTurn]) -> Keys:
        """Returns the turns furthest off."""
        annotated = [turn for turn in turns if turn.labelled]
        worst = sorted(annotated, key=lambda turn: turn.absolute_error, reverse=True)
        return {turn.key for turn in worst[: round(WORST * len(annotated))]}

    def tally(self, labelled: int, errors: int) -> str:
        """Returns how many turns are far off."""
        return f"{errors} far off"


KINDS = {"classes": ClassKind(), "values": ValueKind()}


def kind_of(task: Task) -> Kind:
    """Returns the kind of emotions of a task."""
    return KINDS.get(task.kind, Kind())


def _majority(sources: Sources) -> dict[str, Any]:
    """Returns the split's most frequent class, and the scores of always predicting it."""
    task: Classes = sources.task
    support = {name: row["support"] for name, row in sources.metrics["per_class"].items()}
    label = max(support, key=support.get)
    counts_CxC = np.zeros((len(task.labels), len(task.labels)))
    counts_CxC[:, task.labels.index(label)] = [support[name] for name in task.labels.names]
    return {"label": label, "scores": task.scores_of(counts_CxC)}


def _reliability(analysis: dict[str, Any]) -> Plot:
    bins = [one for one in analysis["calibration"]["bins"] if one["n"]]
    series = [
        Series("perfect calibration", "dashed", [(0, 0), (100, 100)]),
        Series("found", "dotted", [(100 * one["confidence"], 100 * one["accuracy"]) for one in bins]),
    ]
    return make_plot("Accuracy by confidence, percent", "confidence", series)


def _scatters(sources: Sources) -> list[Plot]:
    plots = []
    for index, name in enumerate(sources.task.labels.names):
        pairs = [(turn.labels[index], turn.predictions[index]) for turn in sources.turns]
        points = [(label, prediction) for label, prediction in pairs if label is not None]
        if points:
            ends = [min(map(min, points)), max(map(max, points))]
            same = Series("equal", "dashed", [(end, end) for end in ends])
            plots.append(make_plot(name, "annotated", [Series("predicted", "cloud", points), same]))
    return plots
