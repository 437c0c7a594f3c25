"""Emotions as classes: one label per turn, softmax cross-entropy, accuracy and F1."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.errors import InputError
from dtrm_jax.tasks.interface import DIVERGED, Breakdown, Targets, Task, check_finite, number_in, numbered
from dtrm_jax.tasks.metrics import METRICS, Confusions, Metric
from dtrm_jax.tasks.rows import PredictedTurn

_OWN = ("label", "prediction")
_PROBABILITY = "p_"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassTurn(PredictedTurn):
    """A row of ``predictions.csv`` of classes.

    Attributes:
        label: The annotated class; None if the turn is not annotated.
        prediction: The predicted class.
        probabilities: Of every class, in the order of the label space.
    """

    label: str | None
    prediction: str
    probabilities: tuple[float, ...]

    @property
    def labelled(self) -> bool:
        """Whether the turn has a class."""
        return self.label is not None

    @property
    def group(self) -> str | None:
        """The annotated class."""
        return self.label


@dataclasses.dataclass(frozen=True)
class Classes(Task):
    """Classes of emotions.

    Attributes:
        labels: The C classes.
        neutral: The class that stands for no emotion, which ``micro_f1`` leaves out; empty if no class is named so.
    """

    kind: ClassVar[str] = "classes"
    emotions: ClassVar[str] = "classes"
    space: ClassVar[type] = LabelSpace
    default_metric: ClassVar[str] = "weighted_f1"
    analysed: ClassVar[bool] = True
    columns: ClassVar[str] = f"{', '.join(_OWN)} and one {_PROBABILITY}<label> per label"

    labels: LabelSpace
    neutral: str = ""

    def __post_init__(self):
        if self.neutral and self.neutral not in self.labels.names:
            names = ", ".join(self.labels.names)
            raise InputError(f"config.data.neutral: expected one of {names}, found {self.neutral!r}")

    def with_neutral(self, neutral: str) -> "Classes":
        """Returns the same classes, one of them named as the neutral one."""
        return dataclasses.replace(self, neutral=neutral)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of confusion matrices; ``micro_f1`` only where a neutral class is named."""
        found = (metric for metric in METRICS.values() if metric.of_counts is not None)
        return tuple(metric for metric in found if self.neutral or not metric.needs_neutral)

    def targets(self, conversation: Conversation) -> Targets:
        """Returns the class of every turn; there are no values."""
        return Targets(self.labels.of(conversation), np.zeros((len(conversation), 0), np.float32))

    def output_weights(self, labels_N: np.ndarray, balance: float) -> np.ndarray:
        """Returns the classes' frequencies to the power of ``-balance``, 1 on average over turns.

        A class that no turn has gets the weight 0, unless nothing is weighted.
        """
        if not balance:
            return super().output_weights(labels_N, balance)
        counts = np.bincount(labels_N[labels_N >= 0], minlength=len(self.labels))
        weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -balance, 0.0)
        return (weights * counts.sum() / (weights @ counts)).astype(np.float32)

    def loss(self, output_UxC: Any, pack: Any, weights_C: Any, label_smoothing: float) -> tuple[Any, Any]:
        """Returns the sum of ``losses.cross_entropy`` and of its weights."""
        from dtrm_jax.tasks.losses import cross_entropy

        return cross_entropy(output_UxC, pack.label_U, pack.weight_U, weights_C, label_smoothing)

    def training_scores(self, hits: float, turns: float) -> dict[str, float]:
        """Returns the accuracy."""
        return {"accuracy": hits / max(turns, 1)}

    def finish(self, output_UxC: Any) -> Any:
        """Returns the probability of every class."""
        import jax

        return jax.nn.softmax(output_UxC, axis=-1)

    def score(self, targets: Targets, outputs_NxC: np.ndarray) -> dict[str, Any]:
        """Returns ``scores`` of the turns that have a class.

        ``loss`` is the plain cross-entropy, whatever weights and smoothing the training uses.
        """
        there_N = targets.labels >= 0
        labels, probabilities = targets.labels[there_N], np.asarray(outputs_NxC)[there_N]
        likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
        loss = float(-np.log(likelihood.astype(np.float64)).mean()) if len(labels) else None
        return self.scores(labels, probabilities, loss)

    def scores(self, labels: np.ndarray, outputs: np.ndarray, loss: float | None = None) -> dict[str, Any]:
        """Scores predicted classes.

        Precision, recall and F1 are 0 where their denominator is 0. No class is left out, unless a metric says so.

        Args:
            labels: ``[N]`` integers, the true class of every scored utterance.
            outputs: ``[N]`` integers, the predicted classes, or ``[N, C]`` floats, one probability per class, of which
                the largest is the prediction (the first of equals).
            loss: Mean loss of the scored utterances; reported as ``loss`` if given.

        Returns:
            The content of ``metrics.json``, of plain Python types, all metrics fractions from 0 to 1: ``metrics`` by
            name, ``loss`` (if given), ``n``, ``labels`` (names, in order), ``neutral`` (if a class is named so),
            ``per_class`` (name -> ``precision``, ``recall``, ``f1``, ``support``) and ``confusion_matrix`` (counts; one
            row per true class, one column per predicted class, both in the order of ``labels``).

        Raises:
            InputError: There is no utterance to score, or a probability or the loss is not finite.
            ValueError: Shapes, types or ranges are not as above.
        """
        labels, predictions = self._checked(labels, "label"), self._predictions(outputs)
        if len(labels) != len(predictions):
            raise ValueError(f"expected as many outputs as labels, found {len(predictions)} for {len(labels)}")
        (counts_CxC,) = self.statistics(np.zeros_like(labels), labels, predictions[None])[0]
        if loss is not None and not np.isfinite(loss):
            raise InputError(f"the loss is not finite but {loss}: {DIVERGED}")
        return {
            **{name: float(value) for name, value in self.scores_of(counts_CxC).items()},
            **({} if loss is None else {"loss": float(loss)}),
            "n": len(labels),
            "labels": list(self.labels.names),
            **({"neutral": self.neutral} if self.neutral else {}),
            "per_class": self._per_class(counts_CxC),
            "confusion_matrix": counts_CxC.astype(int).tolist(),
        }

    def arrays(self, turns: Sequence[PredictedTurn]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the indices ``[N]`` of the annotated classes, -1 where there is none, and of the predicted ones.

        Raises:
            ValueError: A label or a prediction is not in ``labels``.
        """
        labels = [-1 if turn.label is None else self.labels.index(turn.label) for turn in turns]
        predictions = [self.labels.index(turn.prediction) for turn in turns]
        return np.asarray(labels, np.int64), np.asarray(predictions, np.int64)

    def annotations(self, targets: Targets) -> np.ndarray:
        """Returns the ``[N]`` classes, -1 where there is none."""
        return targets.labels

    def statistics(
        self, conversation_N: Sequence[Any], annotated_N: np.ndarray, predicted_PrxN: np.ndarray
    ) -> np.ndarray:
        """Returns ``[J, Pr, C, C]`` confusion matrices, one row per true class, one column per predicted class."""
        (there,) = np.nonzero(annotated_N >= 0)
        if not len(there):
            raise InputError("no labelled utterance to score")
        conversation = numbered([conversation_N[index] for index in there])
        classes = len(self.labels)
        # Floats, since NumPy has no fast product of integer matrices; they hold these counts exactly.
        counts = np.zeros((conversation.max() + 1, len(predicted_PrxN), classes, classes))
        for run, predicted_N in enumerate(predicted_PrxN):
            np.add.at(counts, (conversation, run, annotated_N[there], predicted_N[there]), 1)
        return counts

    def scores_of(self, statistics: np.ndarray) -> dict[str, np.ndarray]:
        """Returns metric -> ``[...]`` of confusion matrices ``[..., C, C]``, none of which is all zeros."""
        found = Confusions(statistics, self.labels.index(self.neutral) if self.neutral else None)
        return {metric.name: metric.of_counts(found) for metric in self.metrics}

    def breakdown(self, metrics: Mapping[str, Any]) -> Breakdown:
        """Returns precision, recall and F1 of each class in percent, and its support."""
        rows = [
            [name, *(f"{100 * scores[key]:.2f}" for key in ("precision", "recall", "f1")), str(scores["support"])]
            for name, scores in metrics["per_class"].items()
        ]
        return Breakdown(["class", "precision", "recall", "F1", "support"], rows)

    def curves(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Returns the F1 of each class."""
        return {f"f1_{name}": scores["f1"] for name, scores in metrics["per_class"].items()}

    @property
    def reported(self) -> tuple[tuple[str, str], ...]:
        """The scores of all turns that this field's papers report."""
        return tuple((name, METRICS[name].title) for name in ("accuracy", "weighted_f1", "macro_f1"))

    @property
    def header(self) -> list[str]:
        """``label``, ``prediction`` and ``p_<label>`` for each class."""
        return [*_OWN, *(_PROBABILITY + name for name in self.labels.names)]

    @classmethod
    def from_header(cls, names: Sequence[str]) -> tuple["Classes", int] | None:
        """Returns the classes that the columns name; None if they are not those of classes."""
        fixed, rest = tuple(names[: len(_OWN)]), names[len(_OWN) :]
        leading = itertools.takewhile(lambda name: name.startswith(_PROBABILITY), rest)
        classes = tuple(name.removeprefix(_PROBABILITY) for name in leading)
        if fixed != _OWN or not classes or len(set(classes)) < len(classes):
            return None
        return cls(LabelSpace(classes)), len(_OWN) + len(classes)

    def predicted(self, outputs_C: np.ndarray) -> dict[str, Any]:
        """Returns prediction and probabilities."""
        names = (_PROBABILITY + name for name in self.labels.names)
        return {"prediction": self.labels.names[int(outputs_C.argmax())], **dict(zip(names, outputs_C, strict=True))}

    def cells(self, turn: Turn, outputs_C: np.ndarray) -> list[str]:
        """Returns label, prediction and probabilities; raises ValueError if the label is not one of ``labels``."""
        if turn.label is not None:
            self.labels.index(turn.label)
        # str() of a NumPy scalar is the shortest decimal that gives the same value in its own precision.
        return [turn.label or "", *map(str, self.predicted(outputs_C).values())]

    def parse(self, cells: Sequence[str], turn: Mapping[str, Any]) -> ClassTurn:
        """Returns a row."""
        label, prediction = cells[: len(_OWN)]
        for name in (label, prediction) if label else (prediction,):
            self.labels.index(name)
        probabilities = tuple(number_in(cell, "a probability") for cell in cells[len(_OWN) :])
        return ClassTurn(**turn, label=label or None, prediction=prediction, probabilities=probabilities)

    def recorded(self, turn: ClassTurn) -> int:
        """Returns the index of the predicted class."""
        return self.labels.index(turn.prediction)

    def _per_class(self, counts_CxC: np.ndarray) -> dict[str, dict[str, float | int]]:
        found = Confusions(counts_CxC)
        columns = zip(self.labels.names, found.precision, found.recall, found.f1, found.true, strict=True)
        return {
            name: {"precision": float(p), "recall": float(r), "f1": float(f1), "support": int(support)}
            for name, p, r, f1, support in columns
        }

    def _predictions(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the ``[N]`` predicted classes."""
        outputs = np.asarray(outputs)
        if outputs.ndim != 2:
            return self._checked(outputs, "prediction")
        if outputs.shape[1] != len(self.labels):
            raise ValueError(f"expected {len(self.labels)} probabilities per utterance, found {outputs.shape[1]}")
        check_finite(outputs, "probabilities")
        return outputs.argmax(axis=1)

    def _checked(self, classes: np.ndarray, what: str) -> np.ndarray:
        """Returns ``[N]`` class indices, after checking that they are."""
        classes = np.asarray(classes)
        if classes.ndim != 1:
            raise ValueError(f"expected one {what} per utterance, found an array of shape {classes.shape}")
        if classes.size and not np.issubdtype(classes.dtype, np.integer):
            raise ValueError(f"expected an integer {what} per utterance, found {classes.dtype}")
        outside = (classes < 0) | (classes >= len(self.labels))
        if outside.any():
            index = int(np.argmax(outside))
            raise ValueError(
                f"utterance {index}: expected a {what} from 0 to {len(self.labels) - 1}, found {classes[index]}"
                + (" (leave out unlabelled turns)" if classes[index] == -1 else "")
            )
        return classes
