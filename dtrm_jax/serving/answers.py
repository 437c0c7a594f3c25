"""From predictions to what is answered, as JSON."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from dtrm_jax.conversation import MODALITIES, Turn
from dtrm_jax.evaluation.files.inside_columns import ATTENDED
from dtrm_jax.inference.prediction import Prediction


def answer(turn: Turn, prediction: Prediction, id_of: Callable[[int], str]) -> dict[str, Any]:
    """Returns the answer to one turn.

    Args:
        turn: As it was given.
        prediction: With the model's insides.
        id_of: Returns the id of the turn at a place in the conversation, from 0.
    """
    values: dict[str, Any] = {"turn": prediction.turn, "speaker": turn.speaker, "text": turn.text}
    if prediction.values is None:
        values |= {"label": prediction.label, "probabilities": prediction.probabilities}
    else:
        values |= {"values": prediction.values}
    insides = dict(prediction.insides or {})
    attended = {}
    for letter, modality in MODALITIES.items():
        place, weight, itself = (insides.pop(kind + letter, None) for kind in ATTENDED)
        if itself is not None:
            seen = weight is not None and place is not None
            attended[modality] = {"turn": id_of(int(place)) if seen else None, "weight": weight, "itself": itself}
    return {**values, "attended": attended, "insides": insides}


def answers(turns: Sequence[Turn], predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Returns the answers to the turns of a whole conversation."""
    return [
        answer(turn, prediction, lambda place: turns[place].id)
        for turn, prediction in zip(turns, predictions, strict=True)
    ]


def encoded(values: Any) -> bytes:
    """Returns a line of JSON, of ASCII characters, so that no text can end it or fail to be encoded."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).encode() + b"\n"
