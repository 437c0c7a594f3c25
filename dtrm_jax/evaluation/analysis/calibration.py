"""Whether the probabilities mean what they say."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import labelled
from dtrm_jax.tasks import Classes, ClassTurn

BINS = 15

_ROUNDING = 1e-3  # by how much a probability of low precision may exceed 1


def calibration(turns: Sequence[ClassTurn], task: Classes, bins: int = BINS) -> dict[str, Any]:
    """Returns the expected calibration error and the mean negative log-likelihood of the labelled turns.

    A turn's confidence is the probability of its prediction. Bins are of equal width, open below and closed above.

    Args:
        turns: The split; turns without a label are left out.
        task: Its classes.
        bins: How many bins the confidences from 0 to 1 are sorted into.

    Returns:
        ``expected_calibration_error``: the mean over turns of the distance between their bin's accuracy and its mean
        confidence; ``negative_log_likelihood``, in nats, the ``loss`` of ``metrics.json``; ``bins``: ``low``,
        ``high``, ``n``, ``confidence`` and ``accuracy`` of each, the last two None in an empty one.

    Raises:
        InputError: No turn has a label, or a number is not a probability.
    """
    turns = labelled(turns)
    if not turns:
        raise InputError("no labelled utterance to score")
    true, predicted = task.arrays(turns)
    probabilities, row = _probabilities(turns), np.arange(len(turns))
    confidence, hit = probabilities[row, predicted], predicted == true
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = [_bin(index, bins, confidence[bin_of == index], hit[bin_of == index]) for index in range(bins)]
    gaps = [one["n"] * abs(one["accuracy"] - one["confidence"]) for one in table if one["n"]]
    # As in the loss of an evaluation, a probability that float32 rounds to 0 is not infinitely wrong.
    likelihood = np.maximum(probabilities[row, true], np.finfo(np.float32).tiny)
    return {
        "expected_calibration_error": float(sum(gaps) / len(turns)),
        "negative_log_likelihood": float(-np.log(likelihood).mean()),
        "bins": table,
    }


def _probabilities(turns: Sequence[ClassTurn]) -> np.ndarray:
    """Returns ``[N, C]`` probabilities, after checking that they are."""
    result = np.asarray([turn.probabilities for turn in turns], np.float64)
    wrong = ((result < 0) | (result > 1 + _ROUNDING)).any(axis=1)
    if wrong.any():
        turn = turns[int(np.argmax(wrong))]
        raise InputError(
            f"conversation {turn.conversation}, turn {turn.turn}: expected probabilities from 0 to 1, "
            f"found {', '.join(f'{value:g}' for value in turn.probabilities)}"
        )
    return result


def _bin(index: int, bins: int, confidence: np.ndarray, hit: np.ndarray) -> dict[str, Any]:
    return {
        "low": index / bins,
        "high": (index + 1) / bins,
        "n": len(hit),
        "confidence": float(confidence.mean()) if len(hit) else None,
        "accuracy": float(hit.mean()) if len(hit) else None,
    }
