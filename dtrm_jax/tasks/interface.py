"""The interface of a kind of emotions for data, training, evaluation and reports.

``Classes`` and ``Values`` implement it. A third kind is one file with a subclass of ``Task`` and one line in
``tasks/__init__.py``, as long as its targets are a class or real values per turn and its space is a subclass of
``LabelSpace`` or ``ValueSpace``: what stores and shows turns asks which of the two it is.

Axes are those of ``batch.py``: N turns of a split, L turns of a conversation, J conversations that have an annotated
turn, Pr predictions of the same turns that are compared. ``___`` are axes of the task's own.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.tasks.metrics import Metric
from dtrm_jax.tasks.rows import PredictedTurn

DIVERGED = "training has diverged, or the weights are damaged"


class Targets(NamedTuple):
    """The targets of the turns of a conversation, or of a whole split.

    Attributes:
        labels: int32 ``[L]``; -1 where a turn has no class.
        values: float32 ``[L, V]``; NaN where a turn has no value. V is 0 where emotions are classes.
    """

    labels: np.ndarray
    values: np.ndarray


class Breakdown(NamedTuple):
    """Scores of each emotion, as text: the names of the columns, and one row per emotion, its name first."""

    columns: list[str]
    rows: list[list[str]]


@dataclasses.dataclass(frozen=True)
class Task(abc.ABC):
    """One kind of emotions.

    Attributes:
        kind: Its name in files, and of the report's templates.
        emotions: Name of its emotions in messages.
        space: The type of its ``labels``.
        default_metric: The metric that selects checkpoints by default; it is shown first.
        analysed: Whether an evaluation has an ``analysis.json``.
        ignored: Settings of training that mean nothing here, by their paths.
        columns: Names of its columns in ``predictions.csv``, for messages.
        labels: The emotions, in the order of the model's outputs.
    """

    kind: ClassVar[str]
    emotions: ClassVar[str]
    space: ClassVar[type]
    default_metric: ClassVar[str]
    analysed: ClassVar[bool]
    ignored: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[str]

    labels: LabelSpace | ValueSpace

    def with_neutral(self, neutral: str) -> "Task":
        """Returns the task with a class named that stands for no emotion; the same if ``neutral`` is empty.

        Raises:
            InputError: There is no such class.
        """
        if neutral:
            raise InputError(f"config.data.neutral: expected nothing, as there are {self.emotions}, found {neutral!r}")
        return self

    # Metrics.

    @property
    @abc.abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that exist, in the order of the table."""

    @property
    def ranked_metrics(self) -> tuple[Metric, ...]:
        """The metrics in the order they are shown in where one is more prominent: the default one first."""
        return tuple(sorted(self.metrics, key=lambda metric: metric.name != self.default_metric))

    # From a conversation to what the model learns.

    @abc.abstractmethod
    def targets(self, conversation: Conversation) -> Targets:
        """Returns the targets of every turn of a conversation."""

    def output_weights(self, labels_N: np.ndarray, balance: float) -> np.ndarray:
        """Returns float32 ``[C]`` weights of the outputs in the loss.

        Args:
            labels_N: Classes of the training split's turns; -1 where there is none.
            balance: ``config.train.class_balance``.
        """
        return np.ones(len(self.labels), np.float32)

    @abc.abstractmethod
    def loss(self, output_UxC: Any, pack: Any, weights_C: Any, label_smoothing: float) -> tuple[Any, Any]:
        """Returns the sum of a pack's losses and their number, to be divided after all sums over packs and devices.

        Args:
            output_UxC: The model's outputs for the pack.
            pack: The ``Batch``, without a leading axis.
            weights_C: From ``output_weights``.
            label_smoothing: ``config.train.label_smoothing``.
        """

    def hits(self, output_UxC: Any, pack: Any) -> Any:
        """Returns how many turns of a pack have their label as the largest output; 0 where there are no classes."""
        import jax.numpy as jnp

        return jnp.sum((jnp.argmax(output_UxC, axis=-1) == pack.label_U) * pack.weight_U)

    def training_scores(self, hits: float, turns: float) -> dict[str, float]:
        """Returns the scores that ``hits`` over a stretch of training give; none by default."""
        return {}

    @abc.abstractmethod
    def finish(self, output_UxC: Any) -> Any:
        """Returns the predictions from the model's outputs: probabilities, or the values themselves."""

    # From predictions to numbers.

    @abc.abstractmethod
    def score(self, targets: Targets, outputs_NxC: np.ndarray) -> dict[str, Any]:
        """Returns the scores of a split: what ``metrics.json`` holds of them, of plain Python types.

        Raises:
            InputError: There is no annotated turn, or a prediction is not finite.
        """

    @abc.abstractmethod
    def arrays(self, turns: Sequence[PredictedTurn]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ``[N, ___]`` annotations and the ``[N, ___]`` predictions of rows of ``predictions.csv``."""

    @abc.abstractmethod
    def annotations(self, targets: Targets) -> np.ndarray:
        """Returns the ``[N, ___]`` annotations, as ``arrays`` does."""

    @abc.abstractmethod
    def statistics(
        self, conversation_N: Sequence[Any], annotated_N: np.ndarray, predicted_PrxN: np.ndarray
    ) -> np.ndarray:
        """Returns ``[J, Pr, ___]`` sums over the annotated turns of every conversation that has one.

        Args:
            conversation_N: What tells the conversations of the turns apart.
            annotated_N: Annotations, as ``arrays`` returns them.
            predicted_PrxN: Predictions by one run or more.

        Raises:
            InputError: There is no annotated turn.
        """

    @abc.abstractmethod
    def scores_of(self, statistics: np.ndarray) -> dict[str, np.ndarray]:
        """Returns metric -> ``[...]`` of ``[..., ___]`` sums over the conversations of ``statistics``."""

    @abc.abstractmethod
    def breakdown(self, metrics: Mapping[str, Any]) -> Breakdown:
        """Returns the scores of each emotion, from the content of ``metrics.json``."""

    @abc.abstractmethod
    def curves(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        """Returns the scores of each emotion by one name each, for ``metrics.jsonl`` and TensorBoard."""

    @property
    @abc.abstractmethod
    def reported(self) -> tuple[tuple[str, str], ...]:
        """The scores that papers report: where each stands in ``metrics.json``, with dots, and its title."""

    @property
    def detailed(self) -> tuple[tuple[str, str], ...]:
        """The same where there is room for more; by default no more."""
        return self.reported

    # Columns of predictions.csv.

    @property
    @abc.abstractmethod
    def header(self) -> list[str]:
        """The task's columns, after those that every turn has."""

    @classmethod
    @abc.abstractmethod
    def from_header(cls, names: Sequence[str]) -> tuple["Task", int] | None:
        """Returns the task whose columns a file begins with and how many they are; None if they are another task's.

        Args:
            names: Of the columns after those that every turn has.
        """

    @abc.abstractmethod
    def predicted(self, outputs_C: np.ndarray) -> dict[str, Any]:
        """Returns the task's columns of a turn without its annotation: names, and numbers in the outputs' precision."""

    @abc.abstractmethod
    def cells(self, turn: Turn, outputs_C: np.ndarray) -> list[str]:
        """Returns the task's cells of a turn; raises ValueError if its annotation is not of this task."""

    @abc.abstractmethod
    def parse(self, cells: Sequence[str], turn: Mapping[str, Any]) -> PredictedTurn:
        """Inverts ``cells``.

        Args:
            cells: The task's cells of one row.
            turn: The fields of ``PredictedTurn`` that every row has.

        Raises:
            ValueError: A cell is not what its column holds.
        """

    @abc.abstractmethod
    def recorded(self, turn: PredictedTurn) -> Any:
        """Returns the prediction of a turn as plain JSON types, without its probabilities."""


def check_finite(outputs_NxC: np.ndarray, what: str) -> None:
    """Raises InputError if an output is not finite; ``what`` is what the outputs are called."""
    finite = np.isfinite(outputs_NxC).all(axis=1)
    if not finite.all():
        raise InputError(f"utterance {np.argmin(finite)}: the {what} are not finite: {DIVERGED}")


def numbered(conversation_N: Sequence[Any]) -> np.ndarray:
    """Returns int ``[N]``: conversations by number, in the order they first appear in."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(conversation_N))}
    return np.asarray([numbers[name] for name in conversation_N], np.int64)


def number_in(cell: str, what: str) -> float:
    """Returns the finite number in a cell; raises ValueError, which says that ``what`` was expected, if it is none."""
    try:
        number = float(cell)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"expected {what}, found {cell!r}")
    return number
