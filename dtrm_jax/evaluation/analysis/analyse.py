"""What lies behind the scores of classes, from the rows of ``predictions.csv`` alone.

Every evaluation of classes writes it as ``analysis.json``. Two predictions of the same turns are compared.
"""

from collections.abc import Sequence
from typing import Any

from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.calibration import calibration
from dtrm_jax.evaluation.analysis.groups import labelled, shifts, short_utterances
from dtrm_jax.evaluation.analysis.paired import matched, rectified_cases
from dtrm_jax.tasks import Classes, ClassTurn

_DRAWN = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, "seed": bootstrap.SEED}


def analyse(turns: Sequence[ClassTurn], task: Classes) -> dict[str, Any]:
    """Returns the content of ``analysis.json``, of plain Python types, all scores fractions from 0 to 1.

    Args:
        turns: The rows of ``predictions.csv``, as ``predictions.read`` returns them.
        task: Their classes.

    Returns:
        ``n`` (labelled turns), ``conversations``, ``shifts`` (``groups.shifts``, the paper's Table 6), ``short``
        (``groups.short_utterances``), ``intervals`` (``bootstrap.intervals``, with how they were drawn) and
        ``calibration`` (``calibration.calibration``).

    Raises:
        InputError: No turn has a label, or a number is not a probability.
    """
    return {
        "n": len(labelled(turns)),
        "conversations": len({turn.conversation for turn in turns}),
        "shifts": shifts(turns, task),
        "short": short_utterances(turns, task),
        "intervals": _DRAWN | bootstrap.intervals(turns, task),
        "calibration": calibration(turns, task),
    }


def compare(first: Sequence[ClassTurn], second: Sequence[ClassTurn], task: Classes) -> dict[str, Any]:
    """Returns what changes from the first predictions to the second, of plain Python types.

    If only one has turns without a label, as context that the other lacks, the labelled turns alone are compared.

    Returns:
        ``n`` (labelled turns), ``differences`` (``bootstrap.differences``, with how they were drawn), ``shifts``
        (``first`` and ``second``, as in ``analyse``) and ``cases`` (``paired.rectified_cases``).

    Raises:
        InputError: The two are not over the same labelled turns, or no turn has a label.
    """
    if {turn.key for turn in first} != {turn.key for turn in second}:
        first, second = labelled(first), labelled(second)
    second = matched(first, second)
    return {
        "n": len(labelled(first)),
        "differences": _DRAWN | bootstrap.differences(first, second, task),
        "shifts": {"first": shifts(first, task), "second": shifts(second, task)},
        "cases": rectified_cases(first, second, task),
    }
