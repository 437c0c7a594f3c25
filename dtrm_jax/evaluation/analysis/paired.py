"""Two predictions of the same turns, side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import labelled
from dtrm_jax.tasks import Classes, ClassTurn


def matched(first: Sequence[ClassTurn], second: Sequence[ClassTurn]) -> list[ClassTurn]:
    """Returns the turns of ``second`` in the order of ``first``.

    Turns are the same if they have the same conversation, turn id and label. Their texts may differ: a model that reads
    features has none.

    Raises:
        InputError: The two are not over the same turns.
    """
    one, other = _by_id(first), _by_id(second)
    for missing, place in ((one.keys() - other.keys(), "first"), (other.keys() - one.keys(), "second")):
        if missing:
            raise InputError(f"{_name(min(missing))}: expected in both predictions, found in the {place} only")
    for key, turn in one.items():
        if other[key].label != turn.label:
            raise InputError(f"{_name(key)}: expected one label, found {turn.label!r} and {other[key].label!r}")
    return [other[key] for key in one]


def rectified(first: Sequence[ClassTurn], second: Sequence[ClassTurn], task: Classes) -> tuple[int, list[list[int]]]:
    """Counts the turns that ``first`` gets wrong and ``second`` gets right (paper, section 5.5).

    Returns:
        How many there are, and how many by class: one row per true class, one column per class that ``first`` took
        it for, both in the order of the label space.

    Raises:
        InputError: The two are not over the same turns.
    """
    true, before = task.arrays(labelled(first))
    _, after = task.arrays(labelled(matched(first, second)))
    mended = (before != true) & (after == true)
    counts_CxC = np.zeros((len(task.labels), len(task.labels)), np.int64)
    np.add.at(counts_CxC, (true[mended], before[mended]), 1)
    return int(mended.sum()), counts_CxC.tolist()


def rectified_cases(first: Sequence[ClassTurn], second: Sequence[ClassTurn], task: Classes) -> dict[str, Any]:
    """Returns ``rectified`` in both directions as plain JSON types.

    Returns:
        ``labels`` (names, in order), ``rectified`` and ``spoiled`` (wrong in ``second`` only), each with ``n`` and
        ``counts``: one row per true class, one column per wrong prediction.
    """
    pairs = {"rectified": (first, second), "spoiled": (second, first)}
    tables = {name: rectified(one, other, task) for name, (one, other) in pairs.items()}
    return {
        "labels": list(task.labels.names),
        **{name: {"n": n, "counts": counts_CxC} for name, (n, counts_CxC) in tables.items()},
    }


def _by_id(turns: Sequence[ClassTurn]) -> dict[tuple[str, str], ClassTurn]:
    result: dict[tuple[str, str], ClassTurn] = {}
    for turn in turns:
        if turn.key in result:
            raise InputError(f"{_name(turn.key)}: expected one prediction, found two")
        result[turn.key] = turn
    return result


def _name(key: tuple[str, str]) -> str:
    return f"conversation {key[0]}, turn {key[1]}"
