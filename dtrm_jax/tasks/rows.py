"""A predicted turn: one row of ``predictions.csv``, as analysis and reports take it."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Attended:
    """Where the attention of one modality looks.

    Attributes:
        turn: Id of the earlier turn that is attended to most; None if none is seen.
        weight: Its weight; None if none is seen.
        itself: The weight of the turn itself.
    """

    turn: str | None
    weight: float | None
    itself: float


@dataclasses.dataclass(frozen=True, slots=True)
class TurnInsides:
    """What is known of the model's insides at one turn; what the model, or the turn, does not have is left out.

    Attributes:
        attended: Letter of a modality -> where its attention looks.
        gates: Pair of letters -> share of the first.
        fusion: Position -> attention of ``e_CLS``.
        numbers: Name -> any other number.
    """

    attended: Mapping[str, Attended] = dataclasses.field(default_factory=dict, hash=False)
    gates: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    fusion: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PredictedTurn:
    """What every row has; a task's own rows add annotation and prediction.

    Attributes:
        conversation: Id of the conversation.
        turn: The turn's id in its source, unique in its conversation.
        speaker: Who speaks.
        text: What is said; empty if the source has no text.
        insides: What went on inside the model, as far as the file tells.
    """

    conversation: str
    turn: str
    speaker: str
    text: str
    insides: TurnInsides = TurnInsides()

    @property
    def key(self) -> tuple[str, str]:
        """What tells the turn from all others of the split."""
        return self.conversation, self.turn

    @property
    def labelled(self) -> bool:
        """Whether the turn is annotated, so that it can be scored."""
        raise NotImplementedError

    @property
    def group(self) -> str | None:
        """The annotated class, by which means over turns are grouped; None if there is none."""
        return None
