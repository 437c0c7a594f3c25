"""The page's section on the model's insides: mean gates, and mean attention on modalities and on turns."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from dtrm_jax.conversation import MODALITIES, conv_context
from dtrm_jax.report.sources import by_conversation
from dtrm_jax.tasks.rows import Attended, PredictedTurn


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over all turns, and over those of each annotated class.

    Attributes:
        columns: Names.
        rows: Name of the group, how many of its turns have any of the numbers, and one mean per column, None where no
            turn of the group has it.
    """

    columns: list[str]
    rows: list[tuple[str, int, list[float | None]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionSummary:
    """Where the attention of one modality looks.

    Attributes:
        modality: Its name.
        means: Weights of the turn itself and of the earlier turn that is attended to most.
        distances: How many turns back that earlier turn is -> how often; all distances up to the largest.
        same_speaker: The share of cases in which it is by the speaker of the turn.
        same_speaker_seen: The share of all earlier turns in the window that are by the speaker of the turn.
    """

    modality: str
    means: Means
    distances: dict[int, int]
    same_speaker: float
    same_speaker_seen: float


def means(turns: Sequence[PredictedTurn], classes: Sequence[str], kind: str) -> Means | None:
    """Returns the means of the model's insides of one kind, over all turns and those of each class.

    Args:
        turns: Of a split.
        classes: The classes of emotions; none where they are real values.
        kind: Which field of ``TurnInsides``: gates, fusion or numbers.

    Returns:
        None if there are none.
    """
    return _means(turns, classes, lambda turn: getattr(turn.insides, kind))


def attention_summaries(turns: Sequence[PredictedTurn], classes: Sequence[str], window: int) -> list[AttentionSummary]:
    """Returns where the attention of every context-dependent modality looks.

    Args:
        turns: All turns of a split, those of a conversation in order.
        classes: The classes of emotions; none where they are real values.
        window: K.
    """
    letters = [letter for letter in MODALITIES if any(letter in turn.insides.attended for turn in turns)]
    return [_summary(letter, turns, classes, window) for letter in letters]


def _summary(letter: str, turns: Sequence[PredictedTurn], classes: Sequence[str], window: int) -> AttentionSummary:
    distances: collections.Counter[int] = collections.Counter()
    same, seen = [], []
    for conversation in by_conversation(turns):
        places = {turn.turn: index for index, turn in enumerate(conversation)}
        for index, turn in enumerate(conversation):
            attended = turn.insides.attended.get(letter)
            if attended is None or attended.turn is None:
                continue
            place = places[attended.turn]
            distances[index - place] += 1
            same.append(conversation[place].speaker == turn.speaker)
            context = [conversation[earlier] for earlier in conv_context(index, window)]
            seen += [one.speaker == turn.speaker for one in context if letter in one.insides.attended]
    return AttentionSummary(
        modality=MODALITIES[letter],
        means=_means(turns, classes, lambda turn: _weights(turn.insides.attended.get(letter))),
        distances={distance: distances[distance] for distance in range(1, max(distances, default=0) + 1)},
        same_speaker=_mean(same) or 0.0,
        same_speaker_seen=_mean(seen) or 0.0,
    )


def _weights(attended: Attended | None) -> dict[str, float]:
    if attended is None:
        return {}
    weights = {"on itself": attended.itself, "on one earlier turn": attended.weight}
    return {name: weight for name, weight in weights.items() if weight is not None}


def _means(
    turns: Sequence[PredictedTurn], classes: Sequence[str], numbers_of: Callable[[PredictedTurn], Mapping[str, float]]
) -> Means | None:
    columns = list(dict.fromkeys(name for turn in turns for name in numbers_of(turn)))
    if not columns:
        return None
    groups = [("all", turns)] + [(name, [turn for turn in turns if turn.group == name]) for name in classes]
    rows = []
    for name, group in groups:
        numbers = [numbers_of(turn) for turn in group]
        of_columns = [_mean([one[column] for one in numbers if column in one]) for column in columns]
        rows.append((name, sum(map(bool, numbers)), of_columns))
    return Means(columns, rows)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
