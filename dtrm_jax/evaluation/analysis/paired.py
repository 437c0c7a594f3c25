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


def mended(true_N: np.ndarray, before_N: np.ndarray, after_N: np.ndarray, classes: int) -> np.ndarray:
    """Counts the turns that are wrong in ``before`` and right in ``after`` (paper, section 5.5).

    Args:
        true_N: True classes; -1 where there is none.
        before_N: Predicted classes.
        after_N: Of another prediction.
        classes: C.

    Returns:
        ``[C, C]``: one row per true class, one column per class that ``before`` took it for.
    """
    there_N = (before_N != true_N) & (after_N == true_N)
    counts_CxC = np.zeros((classes, classes), np.int64)
    np.add.at(counts_CxC, (true_N[there_N], before_N[there_N]), 1)
    return counts_CxC


def rectified_cases(first: Sequence[ClassTurn], second: Sequence[ClassTurn], task: Classes) -> dict[str, Any]:
    """Returns the turns that only one of the two gets right, as plain JSON types.

    Returns:
        ``labels`` (names, in order), ``rectified`` (wrong in ``first`` only) and ``spoiled`` (wrong in ``second``
        only), each with ``n`` and ``counts``: one row per true class, one column per wrong prediction.

    Raises:
        InputError: The two are not over the same turns.
    """
    true_N, first_N = task.arrays(labelled(first))
    _, second_N = task.arrays(labelled(matched(first, second)))
    tables = {
        "rectified": mended(true_N, first_N, second_N, len(task.labels)),
        "spoiled": mended(true_N, second_N, first_N, len(task.labels)),
    }
    return {
        "labels": list(task.labels.names),
        **{name: {"n": int(counts.sum()), "counts": counts.tolist()} for name, counts in tables.items()},
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
