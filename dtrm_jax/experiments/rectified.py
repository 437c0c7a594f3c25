"""Turns that text alone gets wrong and more modalities get right, by their label and what they were taken for.

The paper's section 5.5 counts them on IEMOCAP: most are neutral or frustrated, and most of those had been taken for a
negative emotion.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtrm_jax.evaluation.analysis.paired import mended

_NEGATIVE = ("sad", "angry", "frustrated", "sadness", "anger", "fear", "disgust", "negative")
# Label -> share of all rectified turns, and of these the share that had been taken for another negative emotion.
_PAPER = {"neutral": (30.38, 85.41), "frustrated": (27.85, 70.45)}
_NOTHING = "-"


def between(
    first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray], annotated_N: np.ndarray, labels: Sequence[str]
) -> dict[str, Any] | None:
    """Counts the turns that ``first`` gets wrong and ``second`` gets right, and the reverse, over pairs of one seed.

    Args:
        first: Seed -> predicted classes ``[N]``.
        second: The same of the other model.
        annotated_N: True classes; -1 where there is none.
        labels: Names of the classes.

    Returns:
        ``pairs`` (seeds that both have), ``labels``, and ``rectified`` and ``spoiled``: counts of one row per true
        class and one column per class that was wrongly predicted, summed over the pairs. None if no seed is in both.
    """
    pairs = sorted(first.keys() & second.keys())
    if not pairs:
        return None
    rectified, spoiled = (
        sum(mended(annotated_N, before[seed], after[seed], len(labels)) for seed in pairs).tolist()
        for before, after in ((first, second), (second, first))
    )
    return {"pairs": len(pairs), "labels": list(labels), "rectified": rectified, "spoiled": spoiled}


def rows(found: Mapping[str, Any], corpus: str, mark: str = "") -> list[list[str]]:
    """Returns the heading and one row per class, for ``markdown_table``.

    Args:
        found: What ``between`` returns.
        corpus: That of the paper whose numbers may stand there; it has shares of IEMOCAP.
        mark: Follows a number of the paper.
    """
    counts, labels = np.asarray(found["rectified"]), found["labels"]
    negative = np.asarray([name in _NEGATIVE for name in labels])
    paper = _PAPER if corpus == "iemocap" else {}
    lines = [["label", "share", "paper", "taken for a negative emotion", "paper", "most often taken for"]]
    for index, name in enumerate(labels):
        of_class, (share, from_negative) = counts[index], paper.get(name, (None, None))
        most = labels[int(of_class.argmax())] if of_class.any() else _NOTHING
        lines.append(
            [
                name,
                _percent(of_class.sum(), counts.sum()),
                _NOTHING if share is None else f"{share:.1f}{mark}",
                _percent(of_class[negative].sum(), of_class.sum()),
                _NOTHING if from_negative is None else f"{from_negative:.1f}{mark}",
                most,
            ]
        )
    return lines if paper else [[cell for place, cell in enumerate(line) if place not in (2, 4)] for line in lines]


def told(found: Mapping[str, Any]) -> str:
    """Returns in a sentence how many turns there are."""
    pairs = found["pairs"]
    mended, spoiled = (np.sum(found[name]) / pairs for name in ("rectified", "spoiled"))
    over = f", mean of {pairs} pairs of runs" if pairs > 1 else ""
    return (
        f"Wrong by text alone and right with all modalities: {mended:.0f} turns{over}, whose shares are in percent; "
        f"the reverse: {spoiled:.0f} turns."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else _NOTHING
