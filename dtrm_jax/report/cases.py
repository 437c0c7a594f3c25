"""Conversations turn by turn, as the paper's Figure 3 shows its cases."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.report.kinds import Distances, Keys, Kind
from dtrm_jax.report.overview import Overview
from dtrm_jax.tasks import PredictedTurn, Task

_EXCERPT = 60  # characters of the turn attended to, whose whole text stands a few lines above


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The earlier turn that a modality attends to most, by its id; weights in percent."""

    modality: str
    anchor: str
    turn: str
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
        right: Whether the prediction is the annotation; None if that cannot be said.
        wrong: Whether it counts as an error (``Kind.errors``).
        marks: Its data attributes (``Kind.marks``).
        shifts: Names of the emotion shifts at this turn.
        looks: One for each modality that attends to an earlier turn.
    """

    turn: PredictedTurn
    anchor: str
    right: bool | None
    wrong: bool
    marks: Mapping[str, str]
    shifts: tuple[str, ...]
    looks: tuple[Look, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A conversation as the page shows it.

    Attributes:
        name: Its id.
        turns: Those shown.
        tally: How well they were predicted, in words.
        numbers: What it is sorted by (``Kind.numbers``).
    """

    name: str
    turns: list[TurnView]
    tally: str
    numbers: Mapping[str, float]

    @property
    def labelled(self) -> bool:
        """Whether any turn is annotated."""
        return any(view.turn.labelled for view in self.turns)


@dataclasses.dataclass(frozen=True)
class _Marked:
    """Facts about all turns of the split, which every conversation of it needs."""

    kind: Kind
    errors: Keys
    shifts: dict[str, Keys]
    distances: Distances


def content(seen: Overview, kind: Kind, task: Task, turns: Sequence[PredictedTurn]) -> dict[str, Any]:
    """Returns what the page's section on conversations is given.

    Args:
        seen: What is shown of them.
        kind: Says which turns are errors, and how emotions are drawn.
        task: What was predicted.
        turns: All turns that are known, of which the worst may be the errors.
    """
    shown = cases(seen.shown, kind, turns)
    known = (turn for conversation in seen.shown for turn in conversation)
    return {
        "task": task,
        "labels": list(task.labels.names),
        "cases": shown,
        "shown": sum(len(case.turns) for case in shown),
        "turns": seen.turns,
        "conversations": seen.conversations,
        "labelled": seen.labelled,
        "orders": kind.orders(seen.labelled),
        "attending": {letter for turn in known for letter in turn.insides.attended},
        **kind.colours(task, seen.spread),
    }


def cases(shown: Sequence[Sequence[PredictedTurn]], kind: Kind, turns: Sequence[PredictedTurn]) -> list[Case]:
    """Returns conversations as the page shows them.

    Args:
        shown: The turns of each.
        kind: Says which turns are errors.
        turns: All turns that are known.
    """
    distances = kind.distances(turns)
    marked = _Marked(kind, kind.errors(turns, distances), kind.shifts(turns), distances)
    return [_case(index, conversation, marked) for index, conversation in enumerate(shown)]


def _case(index: int, conversation: Sequence[PredictedTurn], marked: _Marked) -> Case:
    places = {turn.turn: place for place, turn in enumerate(conversation)}
    views = [
        TurnView(
            turn=turn,
            anchor=f"c{index}t{place}",
            right=marked.kind.right(turn),
            wrong=turn.key in marked.errors,
            marks=marked.kind.marks(turn),
            shifts=tuple(name for name, keys in marked.shifts.items() if turn.key in keys),
            looks=tuple(_looks(turn, conversation, places, f"c{index}t")),
        )
        for place, turn in enumerate(conversation)
    ]
    errors = sum(view.wrong for view in views)
    numbers = marked.kind.numbers(conversation, errors, marked.distances)
    return Case(conversation[0].conversation, views, marked.kind.tally(conversation, errors), numbers)


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
            turn=seen.turn,
            speaker=seen.speaker,
            excerpt=_shortened(seen.text),
            weight=100 * attended.weight,
            itself=100 * attended.itself,
        )


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else words[: _EXCERPT - 1].rstrip() + "…"
