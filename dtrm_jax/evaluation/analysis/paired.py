"""Two predictions of the same turns, side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import class_indices, labelled
from dtrm_jax.evaluation.files.predictions import PredictedTurn


def matched(first: Sequence[PredictedTurn], second: Sequence[PredictedTurn]) -> list[PredictedTurn]:
    """Returns the turns of ``second`` in the order of ``first``.

    Turns are the same if they have the same conversation, turn id and label. Their texts may differ: a model that reads
    features has none.

    Raises:
        InputError: The two are not over the same turns.
    """
    one, other = _by_id(first), _by_id(second)
    for missing, which in ((one.keys() - other.keys(), "first"), (other.keys() - one.keys(), "second")):
        if missing:
            raise InputError(f"{_name(min(missing))}: expected in both predictions, found in the {which} only")
    for key, turn in one.items():
        if other[key].label != turn.label:
            raise InputError(f"{_name(key)}: expected one label, found {turn.label!r} and {other[key].label!r}")
    return [other[key] for key in one]


def rectified(
    first: Sequence[PredictedTurn], second: Sequence[PredictedTurn], labels: LabelSpace
) -> tuple[int, list[list[int]]]:
    """Counts the turns that ``first`` gets wrong and ``second`` gets right (paper, section 5.5).

    Returns:
        How many there are, and how many by class: a row a true class, a column what ``first`` took it for, both in the
        order of ``labels``.

    Raises:
        InputError: The two are not over the same turns.
    """
    true, before = class_indices(labelled(first), labels)
    _, after = class_indices(labelled(matched(first, second)), labels)
    mended = (before != true) & (after == true)
    counts_CxC = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts_CxC, (true[mended], before[mended]), 1)
    return int(mended.sum()), counts_CxC.tolist()


def rectified_cases(
    first: Sequence[PredictedTurn], second: Sequence[PredictedTurn], labels: LabelSpace
) -> dict[str, Any]:
    """Returns ``rectified`` in both directions as plain JSON types.

    Returns:
        ``labels`` (names, in order), ``rectified`` and ``spoiled`` (wrong in ``second`` only), each with ``n`` and
        ``counts``: a row a true class, a column the wrong prediction.
    """
    pairs = {"rectified": (first, second), "spoiled": (second, first)}
    tables = {name: rectified(one, other, labels) for name, (one, other) in pairs.items()}
    return {
        "labels": list(labels.names),
        **{name: {"n": n, "counts": counts_CxC} for name, (n, counts_CxC) in tables.items()},
    }


def _by_id(turns: Sequence[PredictedTurn]) -> dict[tuple[str, str], PredictedTurn]:
    result: dict[tuple[str, str], PredictedTurn] = {}
    for turn in turns:
        key = turn.dialogue_id, turn.turn
        if key in result:
            raise InputError(f"{_name(key)}: expected one prediction, found two")
        result[key] = turn
    return result


def _name(key: tuple[str, str]) -> str:
    return f"conversation {key[0]}, turn {key[1]}"
