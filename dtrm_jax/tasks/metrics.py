"""The one table of metrics: the name, the display, the direction and the computation of each.

A metric is computed from sums over turns, so that one formula serves a single evaluation and ten thousand resampled
ones: confusion matrices (``Confusions``) for classes, sums and products (``Moments``) for real values. Everything else
reads this table: the choices of ``config.train.select_by``, ``metrics.json``, the bootstrap, the terminal, the report
and the tables of experiments. A new metric is one entry of ``METRICS``.

The conventions are those of conv-emotion, which the field's published numbers follow: over all utterances of a split at
once, never averaged over batches or conversations.

Axes: C classes, V real-valued targets; ``...`` are samples, runs, or none at all.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

# What the sums over turns are, in this order; see ``Moments``.
SUMS = ("n", "x", "y", "xx", "yy", "xy", "off", "ahead")


@dataclasses.dataclass(frozen=True)
class Confusions:
    """Confusion matrices, and the counts that metrics of classes are made of.

    Attributes:
        counts: ``[..., C, C]``, one row per true class, one column per predicted class; no matrix is all zeros.
        neutral: The index of the class that stands for no emotion. If None, no class was named so.
    """

    counts: np.ndarray
    neutral: int | None = None

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """``[..., C]``: turns of each class that were predicted right."""
        return self.counts.diagonal(axis1=-2, axis2=-1)

    @functools.cached_property
    def true(self) -> np.ndarray:
        """``[..., C]``: turns of each class, its support."""
        return self.counts.sum(axis=-1)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """``[..., C]``: turns that were predicted to be of each class."""
        return self.counts.sum(axis=-2)

    @property
    def n(self) -> np.ndarray:
        """``[...]``: all turns."""
        return self.true.sum(axis=-1)

    @property
    def precision(self) -> np.ndarray:
        """``[..., C]``; 0 for a class that was never predicted."""
        return self.hits / np.maximum(self.predicted, 1)

    @property
    def recall(self) -> np.ndarray:
        """``[..., C]``; 0 for a class that has no turn."""
        return self.hits / np.maximum(self.true, 1)

    @property
    def f1(self) -> np.ndarray:
        """``[..., C]``; 0 for a class that has no turn and was never predicted."""
        return 2 * self.hits / np.maximum(self.true + self.predicted, 1)


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over turns with an annotation x and a prediction y, and the moments that metrics of real values need.

    Attributes:
        sums: ``[..., V, Su]``: for each target the number of annotated turns and the sums of x, y, x^2, y^2, x y,
            |y - x| and y - x. All of x, and all of y, may have been shifted by a constant beforehand, except in the
            last two.
    """

    sums: np.ndarray

    @functools.cached_property
    def n(self) -> np.ndarray:
        """``[..., V]``: annotated turns, but at least 1."""
        return np.maximum(self.sums[..., SUMS.index("n")], 1)

    def mean(self, name: str) -> np.ndarray:
        """Returns the ``[..., V]`` mean of one of ``SUMS``."""
        return self.sums[..., SUMS.index(name)] / self.n

    @functools.cached_property
    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """``[..., V]`` each: of the annotations and of the predictions."""
        return np.maximum(self.mean("xx") - self.mean("x") ** 2, 0), np.maximum(
            self.mean("yy") - self.mean("y") ** 2, 0
        )

    @property
    def covariance(self) -> np.ndarray:
        """``[..., V]``: of annotations and predictions."""
        return self.mean("xy") - self.mean("x") * self.mean("y")

    @functools.cached_property
    def varies(self) -> np.ndarray:
        """``[..., V]``: whether both annotations and predictions vary; rounding leaves a little where nothing does."""
        x, y = self.variances
        return (x > 1e-12 * np.maximum(self.mean("xx"), 1e-30)) & (y > 1e-12 * np.maximum(self.mean("yy"), 1e-30))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """A score by which predictions are judged, and checkpoints may be selected.

    Attributes:
        name: In files and settings.
        title: Name in tables and reports.
        percent: Whether it is a fraction that is shown in percent.
        larger_is_better: False for an error.
        of_counts: For classes: its ``[...]`` values from ``Confusions``.
        of_moments: For real values: its ``[..., V]`` values from ``Moments``, one per target.
        needs_neutral: Whether it exists only where a neutral class is named (``config.data.neutral``).
    """

    name: str
    title: str
    percent: bool
    larger_is_better: bool
    of_counts: Callable[[Confusions], np.ndarray] | None = None
    of_moments: Callable[[Moments], np.ndarray] | None = None
    needs_neutral: bool = False

    def signed(self, value: float) -> float:
        """Returns a score for which larger is better: the negative of an error, any other score unchanged."""
        return value if self.larger_is_better else -value

    @property
    def scale(self) -> int:
        """The factor that turns a score into the number that is shown."""
        return 100 if self.percent else 1

    def shown(self, value: float | None, sign: str = "") -> str:
        """Returns a score as text: in percent with two decimals, or with four; "-" if it is None.

        Args:
            value: The score.
            sign: "+" to show the sign of a difference.
        """
        return "-" if value is None else f"{self.scale * value:{sign}.{2 if self.percent else 4}f}"


def _micro_f1(found: Confusions) -> np.ndarray:
    """F1 over the pooled decisions on all classes but the neutral one; DailyDialog is scored by it."""
    hits, true, predicted = (
        np.delete(one, found.neutral, axis=-1).sum(axis=-1) for one in (found.hits, found.true, found.predicted)
    )
    return 2 * hits / np.maximum(true + predicted, 1)


def _average_recall(found: Confusions) -> np.ndarray:
    """Mean recall of the classes that the split contains: "UA", or balanced accuracy."""
    return found.recall.sum(axis=-1) / np.maximum((found.true > 0).sum(axis=-1), 1)


def _pearson_r(found: Moments) -> np.ndarray:
    """Pearson's r; 0, the score of knowing nothing, where annotations or predictions do not vary."""
    x, y = found.variances
    return np.where(found.varies, found.covariance / np.sqrt(np.where(found.varies, x * y, 1)), 0)


def _concordance(found: Moments) -> np.ndarray:
    """Lin's concordance correlation coefficient: Pearson's r, less what offset and scale cost; 0 as for Pearson's r."""
    spread = sum(found.variances) + found.mean("ahead") ** 2
    return np.where(found.varies, 2 * found.covariance / np.where(found.varies, spread, 1), 0)


# The table, in the order of metrics.json: metrics of classes, then those of real values.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="accuracy",
            title="accuracy",
            percent=True,
            larger_is_better=True,
            of_counts=lambda found: found.hits.sum(axis=-1) / found.n,
        ),
        Metric(
            name="weighted_f1",
            title="weighted F1",
            percent=True,
            larger_is_better=True,
            of_counts=lambda found: (found.true * found.f1).sum(axis=-1) / found.n,
        ),
        # Over all classes of the label space, so that a class that the split does not contain counts as 0.
        Metric(
            name="macro_f1",
            title="macro F1",
            percent=True,
            larger_is_better=True,
            of_counts=lambda found: found.f1.mean(axis=-1),
        ),
        Metric(
            name="average_recall",
            title="UAR",
            percent=True,
            larger_is_better=True,
            of_counts=_average_recall,
        ),
        Metric(
            name="micro_f1",
            title="micro F1 without neutral",
            percent=True,
            larger_is_better=True,
            of_counts=_micro_f1,
            needs_neutral=True,
        ),
        Metric(
            name="pearson_r",
            title="Pearson r",
            percent=False,
            larger_is_better=True,
            of_moments=_pearson_r,
        ),
        Metric(
            name="mae",
            title="MAE",
            percent=False,
            larger_is_better=False,
            of_moments=lambda found: found.mean("off"),
        ),
        Metric(
            name="ccc",
            title="CCC",
            percent=False,
            larger_is_better=True,
            of_moments=_concordance,
        ),
    )
}
