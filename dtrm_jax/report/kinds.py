"""The contents of a page that differ between kinds of emotions.

The parts of the page that differ are in ``templates/<kind>/``; a kind without such a folder has none of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from dtrm_jax.evaluation.analysis.groups import SCORED, SHIFTS_IN_WORDS, inter_shifts, intra_shifts
from dtrm_jax.report.colours import Scale, rules, swatches
from dtrm_jax.report.plot import Plot, Series, make_plot
from dtrm_jax.report.sources import Sources
from dtrm_jax.report.spread import ClassSpread, Spread, ValueSpread
from dtrm_jax.tasks import METRICS, Classes, ClassTurn, PredictedTurn, Task, Values, ValueTurn
from dtrm_jax.tasks.values import relative_errors

WORST = 0.1  # share of the turns with real values that count as errors, those that are furthest off

# The groups of the paper's Table 6.
SHIFTS = {
    "all": "all labelled turns",
    "intra": f"{SHIFTS_IN_WORDS['intra']} (Intra-ES)",
    "inter": f"{SHIFTS_IN_WORDS['inter']} (Inter-ES)",
    "neither": "neither",
}

Keys = set[tuple[str, str]]
Distances = Mapping[tuple[str, str], float]  # how far off turns are, by their keys


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

    def spread(self, task: Task) -> Spread:
        """Returns an empty ``Spread`` of the kind."""
        return Spread()

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the values that the kind's own templates of scores receive."""
        return {}

    def colours(self, task: Task, spread: Any) -> dict[str, Any]:
        """Returns ``paint``, style rules of the emotions' colours, and what else the templates need to use them."""
        return {"paint": Markup("")}

    def orders(self, labelled: bool) -> dict[str, str]:
        """Returns the numbers of a conversation that conversations are sorted by, the largest first: key -> in words.

        Args:
            labelled: Whether any turn is annotated.
        """
        return {}

    def distances(self, turns: Sequence[Any]) -> Distances:
        """Returns how far off each annotated turn is, beside the others; nothing where that has no size."""
        return {}

    def numbers(self, conversation: Sequence[Any], errors: int, distances: Distances) -> dict[str, float]:
        """Returns the numbers of a conversation, by the keys of ``orders`` for annotated turns.

        Args:
            conversation: Its turns.
            errors: How many of them are errors.
            distances: Of all turns that are known.
        """
        return {}

    def errors(self, turns: Sequence[Any], distances: Distances) -> Keys:
        """Returns the turns that count as errors.

        Args:
            turns: All that are known.
            distances: Theirs.
        """
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

    def tally(self, conversation: Sequence[Any], errors: int) -> str:
        """Returns how well the turns of a conversation were predicted, in words; ``errors`` of them are errors."""
        return ""


class ClassKind(Kind):
    """Classes: confusions, shifts, calibration, and whether each turn is right."""

    sections = {"classes": "Classes", "confusions": "Confusions", "shifts": "Shifts", "calibration": "Calibration"}

    def groups(self, task: Task) -> tuple[str, ...]:
        """Returns all classes."""
        return task.labels.names

    def spread(self, task: Classes) -> ClassSpread:
        """Returns an empty count of the predicted classes."""
        return ClassSpread(task.labels.names)

    def colours(self, task: Classes, spread: ClassSpread) -> dict[str, Any]:
        """Returns ``paint`` and ``swatch``, by class."""
        swatch = swatches(task.labels.names)
        return {"paint": Markup(rules(list(swatch.values()))), "swatch": swatch}

    def orders(self, labelled: bool) -> dict[str, str]:
        """Returns errors, their share, and how unsure the model is."""
        errors = {"errors": "most errors first", "share": "largest share of errors first"} if labelled else {}
        return {**errors, "unsure": "least certain first"}

    def numbers(self, conversation: Sequence[ClassTurn], errors: int, distances: Distances) -> dict[str, float]:
        """Returns errors, their share of the labelled turns, and 1 less the mean probability of the predictions."""
        share = errors / max(sum(turn.labelled for turn in conversation), 1)
        return {"errors": errors, "share": share, "unsure": 1 - _certainty(conversation)}

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the scores of the most frequent class, the plot of calibration, and the metrics of groups."""
        return {
            "majority": _majority(sources),
            "reliability": _reliability(sources.analysis),
            "scored": [METRICS[name] for name in SCORED],
            "groups": SHIFTS,
        }

    def errors(self, turns: Sequence[ClassTurn], distances: Distances) -> Keys:
        """Returns the turns whose prediction is not the label."""
        return {turn.key for turn in turns if turn.label not in (None, turn.prediction)}

    def shifts(self, turns: Sequence[ClassTurn]) -> dict[str, Keys]:
        """Returns the paper's two kinds."""
        groups = {"intra": intra_shifts(turns), "inter": inter_shifts(turns)}
        return {SHIFTS_IN_WORDS[name]: {turn.key for turn in group} for name, group in groups.items()}

    def right(self, turn: ClassTurn) -> bool | None:
        """Returns whether the prediction is the label; None if there is no label."""
        return turn.label == turn.prediction if turn.labelled else None

    def marks(self, turn: ClassTurn) -> dict[str, str]:
        """Returns label and prediction."""
        return {"l": turn.label or "", "p": turn.prediction}

    def tally(self, conversation: Sequence[ClassTurn], errors: int) -> str:
        """Returns how many labelled turns are right; if there are none, how certain the predictions are."""
        if labelled := sum(turn.labelled for turn in conversation):
            return f"{labelled - errors} of {labelled} right"
        return f"{100 * _certainty(conversation):.0f} % certain on average"


class ValueKind(Kind):
    """Real values: scatters, and which turns are furthest off."""

    sections = {"targets": "Targets"}
    note = "mean over targets"

    def spread(self, task: Values) -> ValueSpread:
        """Returns an empty range of every target."""
        return ValueSpread(task.labels.names)

    def colours(self, task: Values, spread: ValueSpread) -> dict[str, Any]:
        """Returns ``paint``, ``scales`` by target, and which percentage of the turns counts as errors."""
        scales = {name: Scale.over(*ends) for name, ends in spread.ranges.items() if ends is not None}
        return {"paint": Markup(rules([])), "scales": scales, "worst": round(100 * WORST)}

    def orders(self, labelled: bool) -> dict[str, str]:
        """Returns how far the predictions are off, and how many are far off."""
        return {"off": "furthest off on average first", "errors": "most turns far off first"} if labelled else {}

    def distances(self, turns: Sequence[ValueTurn]) -> Distances:
        """Returns the mean over the targets of the absolute error, each in standard deviations of its annotations.

        Targets may have different scales, as AVEC's have, of which the largest would decide alone.
        """
        return {
            turn.key: distance for turn, distance in zip(turns, relative_errors(turns), strict=True) if turn.labelled
        }

    def numbers(self, conversation: Sequence[ValueTurn], errors: int, distances: Distances) -> dict[str, float]:
        """Returns how far the annotated turns are off on average, and how many are far off."""
        off = [distances[turn.key] for turn in conversation if turn.labelled]
        return {"off": sum(off) / max(len(off), 1), "errors": errors}

    def content(self, sources: Sources) -> dict[str, Any]:
        """Returns the plots of predicted by annotated values."""
        return {"scatters": _scatters(sources)}

    def errors(self, turns: Sequence[ValueTurn], distances: Distances) -> Keys:
        """Returns the turns furthest off."""
        worst = sorted(distances, key=distances.__getitem__, reverse=True)
        return set(worst[: round(WORST * len(worst))])

    def tally(self, conversation: Sequence[ValueTurn], errors: int) -> str:
        """Returns how many turns are far off; nothing if none is annotated."""
        return f"{errors} far off" if any(turn.labelled for turn in conversation) else ""


KINDS = {"classes": ClassKind(), "values": ValueKind()}


def kind_of(task: Task) -> Kind:
    """Returns the kind of emotions of a task."""
    return KINDS.get(task.kind, Kind())


def _certainty(conversation: Sequence[ClassTurn]) -> float:
    """Returns the mean probability of the predicted classes."""
    return sum(max(turn.probabilities) for turn in conversation) / len(conversation)


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
