"""Handmade and random rows of ``predictions.csv``."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.tasks import Classes, ClassTurn

LABELS = LabelSpace(("a", "b", "c"))
TASK = Classes(LABELS)


def conversation(
    name: str, speakers: str, labels: str, predictions: str, texts: Sequence[str] | None = None
) -> list[ClassTurn]:
    """Returns a conversation; speakers, labels and predictions have one letter per turn, "-" for no label."""
    texts = texts or [f"words of turn {index}" for index in range(len(speakers))]
    return [
        ClassTurn(
            conversation=name,
            turn=str(index),
            speaker=speaker,
            text=text,
            label=None if label == "-" else label,
            prediction=prediction,
            probabilities=certain(prediction),
        )
        for index, (speaker, label, prediction, text) in enumerate(
            zip(speakers, labels, predictions, texts, strict=True)
        )
    ]


def certain(prediction: str) -> tuple[float, ...]:
    """Returns probabilities of which the prediction's is 0.8."""
    return tuple(0.8 if name == prediction else 0.1 for name in LABELS.names)


def random_turns(seed: int, conversations: int = 11, right: float = 0.4) -> list[ClassTurn]:
    """Returns conversations of different lengths and kinds; some turns, and all of the last, have no label."""
    random = np.random.default_rng(seed)
    result = []
    for number in range(conversations):
        turns = int(random.integers(1, 13))
        labels = random.choice(list("aaabbc-" if number % 2 else "abbccc-"), turns)
        guesses = random.choice(list(LABELS.names), turns)
        known = (random.random(turns) < right) & (labels != "-")
        predictions, speakers = np.where(known, labels, guesses), random.choice(list("xyz"), turns)
        joined = ("".join(letters) for letters in (speakers, labels, predictions))
        result += conversation(f"d{number}", *joined)
    return result + conversation("unlabelled", "xy", "--", "ab")


def other_predictions(turns: Sequence[ClassTurn], seed: int, changed: float = 0.3) -> list[ClassTurn]:
    """Returns the same turns with some of the predictions drawn anew."""
    random = np.random.default_rng(seed)
    result = []
    for turn in turns:
        prediction = str(random.choice(list(LABELS.names))) if random.random() < changed else turn.prediction
        result.append(dataclasses.replace(turn, prediction=prediction, probabilities=certain(prediction)))
    return result
