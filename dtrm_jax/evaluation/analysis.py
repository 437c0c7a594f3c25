"""What lies behind the scores of classes: ``python -m dtrm_jax.evaluation.analysis PREDICTIONS.csv [OTHER.csv]``.

It needs nothing but ``predictions.csv``, not the model. Every evaluation writes it as ``analysis.json``. With a second
file over the same turns the two are compared.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.errors import InputError, exit_status
from dtrm_jax.evaluation import bootstrap, predictions
from dtrm_jax.evaluation.analysis_table import format_analysis, format_comparison
from dtrm_jax.evaluation.calibration import calibration
from dtrm_jax.evaluation.groups import labelled, shifts, short_utterances
from dtrm_jax.evaluation.paired import matched, rectified_cases
from dtrm_jax.evaluation.predictions import PredictedTurn

_DRAWN = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, "seed": bootstrap.SEED}


def analyse(turns: Sequence[PredictedTurn], labels: LabelSpace) -> dict[str, Any]:
    """Returns the content of ``analysis.json``, of plain Python types, all scores fractions from 0 to 1.

    Args:
        turns: The rows of ``predictions.csv``, as ``predictions.read`` returns them.
        labels: Their label space.

    Returns:
        ``n`` (labelled turns), ``conversations``, ``shifts`` (``groups.shifts``, the paper's Table 6), ``short``
        (``groups.short_utterances``), ``intervals`` (``bootstrap.intervals``, with how they were drawn) and
        ``calibration`` (``calibration.calibration``).

    Raises:
        InputError: No turn has a label, or a number is not a probability.
    """
    return {
        "n": len(labelled(turns)),
        "conversations": len({turn.dialogue_id for turn in turns}),
        "shifts": shifts(turns, labels),
        "short": short_utterances(turns, labels),
        "intervals": _DRAWN | bootstrap.intervals(turns, labels),
        "calibration": calibration(turns, labels),
    }


def compare(first: Sequence[PredictedTurn], second: Sequence[PredictedTurn], labels: LabelSpace) -> dict[str, Any]:
    """Returns what changes from the first predictions to the second, of plain Python types.

    Returns:
        ``n`` (labelled turns), ``differences`` (``bootstrap.differences``, with how they were drawn), ``shifts``
        (``first`` and ``second``, as in ``analyse``) and ``cases`` (``paired.rectified_cases``).

    Raises:
        InputError: The two are not over the same turns, or no turn has a label.
    """
    second = matched(first, second)
    return {
        "n": len(labelled(first)),
        "differences": _DRAWN | bootstrap.differences(first, second, labels),
        "shifts": {"first": shifts(first, labels), "second": shifts(second, labels)},
        "cases": rectified_cases(first, second, labels),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the analysis of one file, or the comparison of two; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dtrm_jax.evaluation.analysis", description="What lies behind scores.")
    parser.add_argument("predictions", help="predictions.csv of an evaluation")
    parser.add_argument("other", nargs="?", help="predictions.csv of another one, over the same turns")
    parsed = parser.parse_args(arguments)
    path, other = parsed.predictions, parsed.other
    return exit_status(lambda: print(_compared(path, other) if other else _analysed(path)))


def _analysed(path: str) -> str:
    turns, labels = predictions.read(path)
    try:
        return f"{path}\n\n{format_analysis(analyse(turns, labels))}"
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _compared(path: str, other_path: str) -> str:
    (first, labels), (second, other_labels) = predictions.read(path), predictions.read(other_path)
    try:
        if set(labels.names) != set(other_labels.names):
            found = f"{', '.join(labels.names)} and {', '.join(other_labels.names)}"
            raise InputError(f"expected the same classes, found {found}")
        return f"A  {path}\nB  {other_path}\n\n{format_comparison(compare(first, second, labels))}"
    except InputError as error:
        raise InputError(f"{path}, {other_path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
