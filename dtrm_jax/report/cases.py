"""Conversations turn by turn, as the paper's Figure 3 shows its cases."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.report.kinds import Keys, Kind
from dtrm_jax.report.sources import by_conversation
from dtrm_jax.tasks import PredictedTurn

SHOWN = 5_000  # turns: a page of more takes long to open; MELD's and IEMOCAP's dev and test splits have fewer

_EXCERPT = 60  # characters of the turn attended to, whose whole text stands a few lines above


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The earlier turn that a modality attends to most; weights in percent."""

    modality: str
    anchor: str
    number: int
    speaker: str
    excerpt: str
    weight: float
    itself: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """A turn as the page shows it.

    Attributes:
        turn: The row of ``predictions.csv``.
        anchor: Its name in the page.
        number: Its place in the conversation, from 1.
        right: Whether the prediction is the annotation; None if that cannot be said.
        wrong: Whether it counts as an error (``Kind.errors``).
        marks: Its data attributes (``Kind.marks``).
        shifts: Names of the emotion shifts at this turn.
        looks: One for each modality that attends to an earlier turn.
    """

    turn: PredictedTurn
    anchor: str
    number: int
    right: bool | None
    wrong: bool
    marks: Mapping[str, str]
    shifts: tuple[str, ...]
    looks: tuple[Look, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A conversation: its id, its turns, and how well they were predicted, in words."""

    name: str
    turns: list[TurnView]
    tally: str


@dataclasses.dataclass(frozen=True)
class _Marked:
    """Facts about all turns of the split, which every conversation of it needs."""

    kind: Kind
    errors: Keys
    shifts: dict[str, Keys]


def cases(turns: Sequence[PredictedTurn], kind: Kind, most: int = SHOWN) -> list[Case]:
    """Returns the conversations of a split, from the first on, while they have ``most`` turns together or fewer.

    Args:
        turns: The whole split, of which the worst turns may be the errors.
        kind: Says which turns are errors.
        most: Turns to show. The first conversation is shown in any case.
    """
    shown, count = [], 0
    for conversation in by_conversation(turns):
        count += len(conversation)
        if shown and count > most:
            break
        shown.append(conversation)
    marked = _Marked(kind, kind.errors(turns), kind.shifts(turns))
    return [_case(index, conversation, marked) for index, conversation in enumerate(shown)]


def _case(index: int, conversation: Sequence[PredictedTurn], marked: _Marked) -> Case:
    places = {turn.turn: place for place, turn in enumerate(conversation)}
    views = [
        TurnView(
            turn=turn,
            anchor=f"c{index}t{place}",
            number=place + 1,
            right=marked.kind.right(turn),
            wrong=turn.key in marked.errors,
            marks=marked.kind.marks(turn),
            shifts=tuple(name for name, keys in marked.shifts.items() if turn.key in keys),
            looks=tuple(_looks(turn, conversation, places, f"c{index}t")),
        )
        for place, turn in enumerate(conversation)
    ]
    labelled = sum(turn.labelled for turn in conversation)
    tally = marked.kind.tally(labelled, sum(view.wrong for view in views)) if labelled else ""
    return Case(conversation[0].conversation, views, tally)


def _looks(
    turn: PredictedTurn, conversation: Sequence[PredictedTurn], places: dict[str, int], prefix: str
) -> Iterator[Look]:
    for letter, attended in turn.insides.attended.items():
        if attended.turn is None:
            continue
        place = places[attended.turn]
        seen = conversation[place]
        yield Look(
            modality=MODALITIES[letter],
            anchor=f"{prefix}{place}",
            number=place + 1,
            speaker=seen.speaker,
            excerpt=_shortened(seen.text),
            weight=100 * attended.weight,
            itself=100 * attended.itself,
        )


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else words[: _EXCERPT - 1].rstrip() + "…"
