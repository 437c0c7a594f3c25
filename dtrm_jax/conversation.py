"""Task formulation (paper, section 3): turns, conversations, their contexts and the label spaces.

A conversation ``X = {x_i | i in [1, L]}`` is a sequence of turns, each by one speaker. Indices here start at 0; the
paper's start at 1. Nothing in this project ever looks at a later turn.
"""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One utterance-level expression of a conversation.

    Attributes:
        id: The name of the turn in its source, unique in the conversation.
        speaker: Who speaks; names are compared within one conversation only.
        text: The utterance; may be empty only if a reader documents it.
        label: The emotion's name in the label space, or None if the turn is not annotated.
    """

    id: str
    speaker: str
    text: str
    label: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """A sequence of turns in the order they were spoken.

    Attributes:
        id: The name of the conversation, unique in its split.
        turns: At least one turn; turn ids are pairwise distinct.
    """

    id: str
    turns: tuple[Turn, ...]

    def __post_init__(self):
        if not self.turns:
            raise ValueError(f"conversation {self.id}: expected at least one turn, found none")
        seen: set[str] = set()
        for turn in self.turns:
            if turn.id in seen:
                raise ValueError(f"conversation {self.id}: expected distinct turn ids, found {turn.id!r} twice")
            seen.add(turn.id)

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


IEMOCAP_LABELS = LabelSpace(("happy", "sad", "neutral", "angry", "excited", "frustrated"))
MELD_LABELS = LabelSpace(("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Everything a reader delivers.

    Attributes:
        name: The corpus.
        labels: Its label space.
        splits: ``train``, ``dev`` and ``test`` (those that exist) -> conversations in a fixed order.
    """

    name: str
    labels: LabelSpace
    splits: dict[str, tuple[Conversation, ...]]


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
