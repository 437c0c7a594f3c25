"""What is predicted of one turn."""

import dataclasses
from collections.abc import Sequence

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
    """

    conversation: str
    turn: str
    label: str | None
    probabilities: dict[str, float] | None
    values: dict[str, float] | None


def predictions_of(
    conversation: str, turns: Sequence[str], outputs_LxC: np.ndarray, labels: LabelSpace | ValueSpace
) -> list[Prediction]:
    """Returns the predictions of the turns of a conversation.

    Args:
        conversation: Its id.
        turns: Their ids.
        outputs_LxC: Probabilities of the classes, or the real values.
        labels: The emotions, in the order of the outputs.
    """
    result = []
    best_L = outputs_LxC.argmax(axis=1).tolist()
    for turn, row, best in zip(turns, outputs_LxC.tolist(), best_L, strict=True):
        numbers = dict(zip(labels.names, row, strict=True))
        classes = isinstance(labels, LabelSpace)
        result.append(
            Prediction(
                conversation=conversation,
                turn=turn,
                label=labels.names[best] if classes else None,
                probabilities=numbers if classes else None,
                values=None if classes else numbers,
            )
        )
    return result
