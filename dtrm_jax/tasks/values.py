"""Emotions as real values: one number per target and turn, squared error, Pearson's r, MAE and concordance."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dtrm_jax.conversation import Conversation, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.tasks.interface import Breakdown, Targets, Task, check_finite, number_in, numbered
from dtrm_jax.tasks.metrics import METRICS, SUMS, Metric, Moments
from dtrm_jax.tasks.rows import PredictedTurn

_ANNOTATED, _PREDICTED = "label_", "prediction_"
# Values whose spread is below this share of the largest are constant: float32 rounding is all that tells them apart.
_CONSTANT = 1e-6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ValueTurn(PredictedTurn):
    """A row of ``predictions.csv`` of real values.

    Attributes:
        labels: The annotations, in the order of the targets; None where there is none.
        predictions: The predicted values, in the same order.
    """

    labels: tuple[float | None, ...]
    predictions: tuple[float, ...]

    @property
    def labelled(self) -> bool:
        """Whether the turn has at least one value."""
        return any(value is not None for value in self.labels)


def relative_errors(turns: Sequence[ValueTurn]) -> list[float]:
    """Returns how far each turn's prediction is off: the mean over its annotated values, 0 if there is none.

    An error is told in standard deviations of its target's annotations in these turns, as targets may have scales of
    their own; of a target whose annotations are constant, it is told as it is.
    """
    if not turns:
        return []
    labels_NxV = np.array([[np.nan if label is None else label for label in turn.labels] for turn in turns], np.float64)
    there_NxV = ~np.isnan(labels_NxV)
    spread_V = np.ma.masked_invalid(labels_NxV).std(axis=0).filled(0)
    errors_NxV = np.abs(labels_NxV - np.array([turn.predictions for turn in turns])) / np.where(
        spread_V > 0, spread_V, 1
    )
    return (np.where(there_NxV, errors_NxV, 0).sum(axis=1) / np.maximum(there_NxV.sum(axis=1), 1)).tolist()


@dataclasses.dataclass(frozen=True)
class Values(Task):
    """Real-valued emotions.

    Pearson's r has no value where the predictions, or the annotations, are constant, or where there are fewer than two.
    It is then 0, the score of knowing nothing, and ``constant`` says so; the mean over the targets counts that 0. A
    target that the split does not annotate counts in no mean.

    Attributes:
        labels: The V targets.
    """

    kind: ClassVar[str] = "values"
    emotions: ClassVar[str] = "real values"
    space: ClassVar[type] = ValueSpace
    default_metric: ClassVar[str] = "pearson_r"
    analysed: ClassVar[bool] = False
    ignored: ClassVar[tuple[str, ...]] = ("train.class_balance", "train.label_smoothing")
    columns: ClassVar[str] = f"{_ANNOTATED}<name> and {_PREDICTED}<name> per target"

    labels: ValueSpace

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of moments."""
        return tuple(metric for metric in METRICS.values() if metric.of_moments is not None)

    def targets(self, conversation: Conversation) -> Targets:
        """Returns the values of every turn; there are no classes."""
        return Targets(np.full(len(conversation), -1, np.int32), self.labels.of(conversation))

    def loss(self, output_UxC: Any, pack: Any, weights_C: Any, label_smoothing: float) -> tuple[Any, Any]:
        """Returns the sum of ``losses.squared_error`` and the number of annotated values."""
        from dtrm_jax.tasks.losses import squared_error

        return squared_error(output_UxC, pack.value_UxV, pack.value_weight_UxV)

    def finish(self, output_UxC: Any) -> Any:
        """Returns the values as they are."""
        return output_UxC

    def score(self, targets: Targets, outputs_NxC: np.ndarray) -> dict[str, Any]:
        """Scores predicted real values.

        Args:
            targets: Of all turns; ``values`` has NaN where there is no annotation.
            outputs_NxC: ``[N, V]`` predictions.

        Returns:
            The content of ``metrics.json``, of plain Python types: ``metrics`` by name (means over the targets),
            ``loss`` (mean squared error of all values), ``n`` (utterances with a value), ``targets`` (names, in order)
            and ``per_target`` (name -> ``metrics`` by name, ``n``, ``constant``: null, "prediction" or "annotation").

        Raises:
            InputError: There is no value to score, or a prediction is not finite.
            ValueError: Shapes are not as above.
        """
        values, outputs = np.asarray(targets.values, np.float64), np.asarray(outputs_NxC, np.float64)
        if values.shape != outputs.shape or values.ndim != 2 or values.shape[1] != len(self.labels):
            raise ValueError(
                f"expected [n, {len(self.labels)}] values and outputs, found {values.shape}, {outputs.shape}"
            )
        there = ~np.isnan(values)
        check_finite(outputs, "predictions")
        (sums_VxSu,) = self.statistics([0] * len(values), values, outputs[None])[0]
        return {
            **{name: float(value) for name, value in self.scores_of(sums_VxSu).items()},
            "loss": float(np.mean((values[there] - outputs[there]) ** 2)),
            "n": int(there.any(axis=1).sum()),
            "targets": list(self.labels.names),
            "per_target": self._per_target(sums_VxSu, values, outputs),
        }

    def arrays(self, turns: Sequence[PredictedTurn]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ``[N, V]`` annotations, NaN where there is none, and the ``[N, V]`` predictions."""
        return np.array([turn.labels for turn in turns], np.float64), np.array([turn.predictions for turn in turns])

    def annotations(self, targets: Targets) -> np.ndarray:
        """Returns the ``[N, V]`` values, NaN where there is none."""
        return targets.values

    def statistics(
        self, conversation_N: Sequence[Any], annotated_N: np.ndarray, predicted_PrxN: np.ndarray
    ) -> np.ndarray:
        """Returns ``[J, Pr, V, Su]`` sums, those of ``metrics.Moments``.

        Args:
            conversation_N: What tells the conversations of the turns apart.
            annotated_N: ``[N, V]`` annotations, NaN where there is none.
            predicted_PrxN: ``[Pr, N, V]`` predictions.
        """
        values_NxV, runs_PrxNxV = np.asarray(annotated_N, np.float64), np.asarray(predicted_PrxN, np.float64)
        there_NxV = ~np.isnan(values_NxV)
        (rows,) = np.nonzero(there_NxV.any(axis=1))
        if not len(rows):
            raise InputError("no annotated utterance to score")
        known_NxV = np.where(there_NxV, values_NxV, 0)
        ahead_PrxNxV = runs_PrxNxV - known_NxV
        x_NxV = _centred(known_NxV, there_NxV)
        y_PrxNxV = np.stack([_centred(run_NxV, there_NxV) for run_NxV in runs_PrxNxV])
        x_PrxNxV = np.broadcast_to(x_NxV, y_PrxNxV.shape)
        terms = {
            "n": np.ones_like(y_PrxNxV),
            "x": x_PrxNxV,
            "y": y_PrxNxV,
            "xx": x_PrxNxV**2,
            "yy": y_PrxNxV**2,
            "xy": x_PrxNxV * y_PrxNxV,
            "off": np.abs(ahead_PrxNxV),
            "ahead": ahead_PrxNxV,
        }
        terms_PrxNxVxSu = np.stack([terms[name] for name in SUMS], axis=-1) * there_NxV[..., None]
        conversation = numbered([conversation_N[row] for row in rows])
        sums = np.zeros((conversation.max() + 1, *terms_PrxNxVxSu[:, 0].shape))
        np.add.at(sums, conversation, np.moveaxis(terms_PrxNxVxSu, 1, 0)[rows])
        return sums

    def scores_of(self, statistics: np.ndarray) -> dict[str, np.ndarray]:
        """Returns metric -> ``[...]``, means over the annotated targets, of ``[..., V, Su]`` sums."""
        there = statistics[..., SUMS.index("n")] > 0
        targets = np.maximum(there.sum(axis=-1), 1)
        found = Moments(statistics)
        return {metric.name: (metric.of_moments(found) * there).sum(axis=-1) / targets for metric in self.metrics}

    def breakdown(self, metrics: Mapping[str, Any]) -> Breakdown:
        """Returns the metrics of each target, how many turns have it, and whether something is constant."""
        shown = [metric for metric in self.metrics if metric.name in metrics]
        rows = [
            [
                name,
                *(metric.shown(scores[metric.name]) for metric in shown),
                str(scores["n"]),
                f"constant {scores['constant']}" if scores["constant"] else "",
            ]
            for name, scores in metrics["per_target"].items()
        ]
        return Breakdown(["target", *(metric.title for metric in shown), "n", ""], rows)

    def curves(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Returns the metrics of each target."""
        rows = metrics["per_target"].items()
        return {f"{metric.name}_{name}": row[metric.name] for name, row in rows for metric in self.metrics}

    @property
    def reported(self) -> tuple[tuple[str, str], ...]:
        """Pearson's r of each target."""
        return self._of_targets(METRICS["pearson_r"])

    @property
    def detailed(self) -> tuple[tuple[str, str], ...]:
        """Every metric of each target."""
        return self._of_targets(*self.metrics)

    def _of_targets(self, *metrics: Metric) -> tuple[tuple[str, str], ...]:
        return tuple(
            (f"per_target.{name}.{metric.name}", f"{name} {metric.title.removeprefix('Pearson ')}")
            for name in self.labels.names
            for metric in metrics
        )

    @property
    def header(self) -> list[str]:
        """``label_<name>`` and ``prediction_<name>`` for each target."""
        return [prefix + name for name in self.labels.names for prefix in (_ANNOTATED, _PREDICTED)]

    @classmethod
    def from_header(cls, names: Sequence[str]) -> tuple["Values", int] | None:
        """Returns the targets that the columns name; None if they are not those of real values."""
        labels = list(itertools.takewhile(lambda name: name.startswith(_ANNOTATED), names[::2]))
        predictions = list(itertools.takewhile(lambda name: name.startswith(_PREDICTED), names[1::2]))
        targets = tuple(name.removeprefix(_ANNOTATED) for name in labels)
        paired = targets == tuple(name.removeprefix(_PREDICTED) for name in predictions)
        if not targets or not paired or len(set(targets)) < len(targets):
            return None
        return cls(ValueSpace(targets)), 2 * len(targets)

    def predicted(self, outputs_C: np.ndarray) -> dict[str, Any]:
        """Returns the prediction of each target."""
        return {_PREDICTED + name: value for name, value in zip(self.labels.names, outputs_C, strict=True)}

    def cells(self, turn: Turn, outputs_C: np.ndarray) -> list[str]:
        """Returns annotation and prediction of each target."""
        # Annotations are known in single precision (data.prepared), so that more digits would say nothing.
        labels_V = ["" if value is None else str(np.float32(value)) for value in turn.values]
        return [cell for pair in zip(labels_V, map(str, outputs_C), strict=True) for cell in pair]

    def parse(self, cells: Sequence[str], turn: Mapping[str, Any]) -> ValueTurn:
        """Returns a row."""
        labels = tuple(number_in(cell, "a value or nothing") if cell else None for cell in cells[::2])
        predictions = tuple(number_in(cell, "a value") for cell in cells[1::2])
        return ValueTurn(**turn, labels=labels, predictions=predictions)

    def recorded(self, turn: ValueTurn) -> list[float]:
        """Returns the predicted values."""
        return list(turn.predictions)

    def _per_target(self, sums_VxSu: np.ndarray, values_NxV: np.ndarray, outputs_NxV: np.ndarray) -> dict[str, Any]:
        found = {metric.name: metric.of_moments(Moments(sums_VxSu)) for metric in self.metrics}
        result = {}
        for index, name in enumerate(self.labels.names):
            there = ~np.isnan(values_NxV[:, index])
            sides = {"prediction": outputs_NxV[there, index], "annotation": values_NxV[there, index]}
            constant = next((side for side, x in sides.items() if there.any() and _is_constant(x)), None)
            scores = {name: float(value[index]) if there.any() else None for name, value in found.items()}
            result[name] = {**scores, "n": int(there.sum()), "constant": constant}
        return result


def _centred(x_NxV: np.ndarray, there_NxV: np.ndarray) -> np.ndarray:
    """Returns values less the mean of those that count, so that squares lose no digits; zeros where all are equal."""
    result = x_NxV - (x_NxV * there_NxV).sum(axis=0) / np.maximum(there_NxV.sum(axis=0), 1)
    for target in range(x_NxV.shape[1]):
        if _is_constant(x_NxV[there_NxV[:, target], target]):
            result[:, target] = 0
    return result


def _is_constant(x: np.ndarray) -> bool:
    return not len(x) or bool(np.ptp(x) <= _CONSTANT * np.abs(x).max())
