"""What is predicted of one turn."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from dtrm_jax.conversation import LabelSpace, ValueSpace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is predicted of one turn: a class, or real values.

    Attributes:
        conversation: Id of the conversation.
        turn: Id of the turn.
        label: The most probable emotion, the first of equals; None where emotions are real values.
        probabilities: Emotion -> its probability, in the model's order; None where emotions are real values.
        values: Emotion -> its value; None where emotions are classes.
        insides: What the model's ``summarise`` says of the turn, without what the turn does not have; None if it was
            not asked for. Attended turns are places in the conversation, from 0.
    """

    conversation: str
    turn: str
    label: str | None
    probabilities: dict[str, float] | None
    values: dict[str, float] | None
    insides: dict[str, float] | None = None


def predictions_of(
    conversation: str,
    turns: Sequence[str],
    outputs_LxC: np.ndarray,
    labels: LabelSpace | ValueSpace,
    insides_L: Mapping[str, np.ndarray] | None = None,
) -> list[Prediction]:
    """Returns the predictions of the turns of a conversation.

    Args:
        conversation: Its id.
        turns: Their ids.
        outputs_LxC: Probabilities of the classes, or the real values.
        labels: The emotions, in the order of the outputs.
        insides_L: The model's summary of the turns, name -> ``[L]``; None if it is not wanted.
    """
    result = []
    best_L = outputs_LxC.argmax(axis=1).tolist()
    for index, (turn, row, best) in enumerate(zip(turns, outputs_LxC.tolist(), best_L, strict=True)):
        numbers = dict(zip(labels.names, row, strict=True))
        classes = isinstance(labels, LabelSpace)
        result.append(
            Prediction(
                conversation=conversation,
                turn=turn,
                label=labels.names[best] if classes else None,
                probabilities=numbers if classes else None,
                values=None if classes else numbers,
                insides=None if insides_L is None else _at(index, insides_L),
            )
        )
    return result


def _at(turn: int, insides_L: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the numbers of one turn, without those that it does not have."""
    numbers = {name: column_L[turn].item() for name, column_L in insides_L.items()}
    return {name: number for name, number in numbers.items() if not math.isnan(number)}


def outputs_of(prediction: Prediction) -> list[float]:
    """Returns the model's outputs: the probabilities of the classes, or the values."""
    numbers = prediction.values if prediction.probabilities is None else prediction.probabilities
    return list((numbers or {}).values())
