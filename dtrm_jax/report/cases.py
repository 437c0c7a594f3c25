"""Conversations turn by turn, as the paper's Figure 3 shows its cases."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.evaluation.analysis.groups import inter_shifts, intra_shifts
from dtrm_jax.evaluation.files.predictions import PredictedTurn, ValuedTurn
from dtrm_jax.report.sources import AnyTurn, by_conversation, is_labelled

SHOWN = 5_000  # turns: a page of more takes long to open; MELD's and IEMOCAP's dev and test splits have fewer
WORST = 0.1  # share of the turns with real values that count as errors: those furthest off

_EXCERPT = 60  # characters of the turn attended to, whose whole text stands a few lines above


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """The earlier turn that a modality attends to most; weights in percent."""

    modality: str
    anchor: str
    number: int
    speaker: str
    excerpt: str
    weight: float
    itself: float


@dataclasses.dataclass(frozen=True, slots=True)
class TurnView:
    """A turn as the page shows it.

    Attributes:
        turn: The row of ``predictions.csv``.
        anchor: Its name in the page.
        number: Its place in the conversation, from 1.
        right: Whether the prediction is the label; None where there is no label or emotions are real values.
        wrong: Whether it counts as an error: not right, or, for real values, among the worst.
        shifts: Names of the emotion shifts at this turn.
        looks: One a modality that attends to an earlier turn.
    """

    turn: AnyTurn
    anchor: str
    number: int
    right: bool | None
    wrong: bool
    shifts: tuple[str, ...]
    looks: tuple[Look, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A conversation: its id, its turns, how many of them are labelled, and how many of those are errors."""

    name: str
    turns: list[TurnView]
    labelled: int
    errors: int


def cases(turns: Sequence[AnyTurn], most: int = SHOWN) -> list[Case]:
    """Returns the conversations of a split, from the first on, while they have ``most`` turns together or fewer.

    Args:
        turns: The whole split; errors of real values are the worst of it.
        most: Turns to show. The first conversation is shown in any case.
    """
    kept, count = [], 0
    for conversation in by_conversation(turns):
        count += len(conversation)
        if kept and count > most:
            break
        kept.append(conversation)
    errors, shifts = _errors(turns), _shifts(turns)
    return [_case(index, conversation, errors, shifts) for index, conversation in enumerate(kept)]


def _case(index: int, conversation: Sequence[AnyTurn], errors: set, shifts: dict) -> Case:
    places = {turn.turn: place for place, turn in enumerate(conversation)}
    views = [
        TurnView(
            turn,
            f"c{index}t{place}",
            place + 1,
            turn.label == turn.prediction if isinstance(turn, PredictedTurn) and is_labelled(turn) else None,
            _key(turn) in errors,
            tuple(name for name, keys in shifts.items() if _key(turn) in keys),
            tuple(_looks(turn, conversation, places, f"c{index}t")),
        )
        for place, turn in enumerate(conversation)
    ]
    labelled = sum(map(is_labelled, conversation))
    return Case(conversation[0].dialogue_id, views, labelled, sum(view.wrong for view in views))


def _looks(turn: AnyTurn, conversation: Sequence[AnyTurn], places: dict[str, int], prefix: str) -> Iterator[Look]:
    for letter, attended in turn.insides.attended.items():
        if attended.turn is None:
            continue
        place = places[attended.turn]
        seen = conversation[place]
        yield Look(
            MODALITIES[letter],
            f"{prefix}{place}",
            place + 1,
            seen.speaker,
            _shortened(seen.utterance),
            100 * attended.weight,
            100 * attended.itself,
        )


def _errors(turns: Sequence[AnyTurn]) -> set[tuple[str, str]]:
    wrong = {
        _key(turn) for turn in turns if isinstance(turn, PredictedTurn) and turn.label not in (None, turn.prediction)
    }
    valued = [turn for turn in turns if isinstance(turn, ValuedTurn) and is_labelled(turn)]
    worst = sorted(valued, key=absolute_error, reverse=True)[: round(WORST * len(valued))]
    return wrong | _keys(worst)


def absolute_error(turn: ValuedTurn) -> float:
    """Returns the mean over the annotated values of how far the prediction is off."""
    pairs = zip(turn.labels, turn.predictions, strict=True)
    errors = [abs(label - prediction) for label, prediction in pairs if label is not None]
    return sum(errors) / len(errors)


def _shifts(turns: Sequence[AnyTurn]) -> dict[str, set[tuple[str, str]]]:
    classes = [turn for turn in turns if isinstance(turn, PredictedTurn)]
    return {"Intra-ES": _keys(intra_shifts(classes)), "Inter-ES": _keys(inter_shifts(classes))}


def _keys(turns: Iterable[AnyTurn]) -> set[tuple[str, str]]:
    return {_key(turn) for turn in turns}


def _key(turn: AnyTurn) -> tuple[str, str]:
    return turn.dialogue_id, turn.turn


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else words[: _EXCERPT - 1].rstrip() + "…"
