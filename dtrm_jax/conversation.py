"""Task formulation (paper, section 3): turns, conversations, their contexts and the label spaces.

A conversation ``X = {x_i | i in [1, L]}`` is a sequence of turns, each by one speaker. Indices here start at 0; the
paper's start at 1. Nothing looks at a later turn, unless ``config.tokens.future`` or the kind of model says so.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

# The modalities by the letters of the paper's Table 4.
MODALITIES = {"u": "utterance", "a": "acoustic", "v": "visual"}
# The vectors that turns may come with: those of the modalities, and what a model of common sense makes of what is said,
# which COSMIC reads.
COMMONSENSE = "commonsense"
FEATURES = (*MODALITIES.values(), COMMONSENSE)
# The vectors of utterances where a file has those of several layers of a language model.
TEXT_LAYERS = ("utterance", "utterance2", "utterance3", "utterance4")
# What ``config.data.labels`` says of conversations without labels, or with none that matter; then the one class.
NO_LABELS = "none"
# The parts of a corpus that models are trained on, chosen by and scored on.
SPLITS = ("train", "dev", "test")
# The largest real-valued emotion. Single precision holds the squares of such numbers, of the gradients that follow from
# them, and the sums of these over any corpus.
LARGEST_VALUE = 1e12


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One utterance-level expression of a conversation.

    Attributes:
        id: The name of the turn in its source, unique in the conversation.
        speaker: Who speaks; names are compared within one conversation only.
        text: The utterance; may be empty only if a reader documents it.
        label: The emotion's name in the label space, or None if the turn is not annotated with a class.
        values: Real-valued emotions, one per name of the ``ValueSpace``, None where not annotated; () for classes.
    """

    id: str
    speaker: str
    text: str
    _: dataclasses.KW_ONLY
    label: str | None = None
    values: tuple[float | None, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """A sequence of turns in the order they were spoken.

    Attributes:
        id: The name of the conversation, unique in its split.
        turns: At least one turn; turn ids are pairwise distinct.
        features: Feature name -> float32 ``[L, M]``, one row per turn. A turn that lacks the feature has a row of NaN;
            every other row is finite. The names are "utterance" (pre-extracted text vectors; "utterance2" and so on
            where a file has several), "acoustic", "visual" and "commonsense". Not part of a comparison with ``==``.
    """

    id: str
    turns: tuple[Turn, ...]
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)

    def __post_init__(self):
        if not self.turns:
            raise ValueError(f"conversation {self.id}: expected at least one turn, found none")
        seen: set[str] = set()
        for turn in self.turns:
            if turn.id in seen:
                raise ValueError(f"conversation {self.id}: expected distinct turn ids, found {turn.id!r} twice")
            seen.add(turn.id)
        for name, matrix in self.features.items():
            self._check_features(name, matrix)

    def _check_features(self, name: str, matrix: np.ndarray) -> None:
        where = f"conversation {self.id}: {name} features"
        if matrix.dtype != np.float32 or matrix.ndim != 2 or len(matrix) != len(self) or not matrix.shape[1]:
            raise ValueError(f"{where}: expected float32 [{len(self)}, dim], found {matrix.dtype} {list(matrix.shape)}")
        partial = ~np.isfinite(matrix).all(axis=1) & ~np.isnan(matrix).all(axis=1)
        if partial.any():
            turn = self.turns[int(np.argmax(partial))].id
            raise ValueError(f"{where}, turn {turn}: expected finite numbers, or NaN throughout where there are none")

    def __len__(self) -> int:
        return len(self.turns)

    def speaker_indices(self) -> list[int]:
        """Returns each turn's speaker as an index in order of first appearance."""
        order = {name: index for index, name in enumerate(dict.fromkeys(turn.speaker for turn in self.turns))}
        return [order[turn.speaker] for turn in self.turns]


@dataclasses.dataclass(frozen=True, slots=True)
class LabelSpace:
    """The emotions a dataset distinguishes, in the order of the model's outputs."""

    names: tuple[str, ...]

    def index(self, name: str) -> int:
        """Returns the position of ``name``; raises ValueError if it is not a label."""
        if name not in self.names:
            raise ValueError(f"unknown label {name!r}, expected one of {', '.join(self.names)}")
        return self.names.index(name)

    def __len__(self) -> int:
        return len(self.names)

    def of(self, conversation: Conversation) -> np.ndarray:
        """Returns the class of every turn, int32 ``[L]``, -1 where a turn is not annotated.

        Raises:
            ValueError: A turn has another label.
        """
        labels = (turn.label for turn in conversation.turns)
        return np.array([-1 if label is None else self.index(label) for label in labels], np.int32)


@dataclasses.dataclass(frozen=True, slots=True)
class ValueSpace:
    """The real-valued emotions of a dataset, in the order of the model's outputs."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, conversation: Conversation) -> np.ndarray:
        """Returns the values of every turn, float32 ``[L, V]``, NaN where a turn is not annotated."""
        rows = [[np.nan if value is None else value for value in turn.values] for turn in conversation.turns]
        return np.array(rows, np.float32)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Everything that a reader delivers.

    Attributes:
        name: The corpus.
        labels: Its label space: classes, or real values.
        splits: ``train``, ``dev`` and ``test`` (those that exist) -> conversations in a fixed order.
        notes: What people should know about how it was read, a line each: what was forgiven, how splits were made.
        dev_drawn: Whether ``dev`` was drawn from conversations that could have been trained on (``protocol``).
    """

    name: str
    labels: LabelSpace | ValueSpace
    splits: dict[str, tuple[Conversation, ...]]
    notes: tuple[str, ...] = ()
    dev_drawn: bool = False

    def __post_init__(self):
        sizes = self.feature_sizes()
        for conversation in self._conversations():
            found = {name: matrix.shape[1] for name, matrix in conversation.features.items()}
            if found != sizes:
                raise ValueError(
                    f"{self.name}, conversation {conversation.id}: expected features of sizes {sizes}, found {found}"
                )

    def feature_sizes(self) -> dict[str, int]:
        """Returns feature name -> dimension; all conversations have the same."""
        first = next(self._conversations(), None)
        return {name: matrix.shape[1] for name, matrix in first.features.items()} if first else {}

    def _conversations(self) -> Iterator[Conversation]:
        return (conversation for split in self.splits.values() for conversation in split)


def conv_context(turn: int, window: int) -> range:
    """Returns the indices of the conv-context ``phi_i``: all turns in ``[max(0, i - K), i)``.

    Args:
        turn: ``i``, the target's index from 0.
        window: ``K``, how many turns back the context reaches.
    """
    return range(max(0, turn - window), turn)


def indi_context(speakers: Sequence[object], turn: int, window: int) -> list[int]:
    """Returns the indices of the indi-context ``varphi_i``: the conv-context's turns by the target's own speaker.

    Args:
        speakers: The speaker of every turn of the conversation.
        turn: ``i``, the target's index from 0.
        window: ``K``, how many turns back the context reaches.
    """
    return [earlier for earlier in conv_context(turn, window) if speakers[earlier] == speakers[turn]]


def future_indi_context(speakers: Sequence[object], turn: int, future: int) -> list[int]:
    """Returns the indices of the turns in ``(i, i + F]`` by the target's own speaker, which the paper does not have.

    Args:
        speakers: As for ``indi_context``.
        turn: ``i``, the target's index from 0.
        future: ``F``, how many turns ahead the context reaches.
    """
    end = min(len(speakers), turn + future + 1)
    return [later for later in range(turn + 1, end) if speakers[later] == speakers[turn]]
