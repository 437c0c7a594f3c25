"""How far a score, or the difference of two, depends on which conversations happened to be in the split.

Whole conversations are resampled with replacement, because the turns of one are not independent. A score needs no more
than the confusion matrix of a sample, and that is the sum of its conversations' matrices, so that thousands of samples
are one matrix product. From a handful of conversations the intervals come out too narrow. What training's randomness
adds is not in them at all: for that, compare seeds.

Axes: R resamples, D conversations with a labelled turn, K predictions that are compared, C classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.groups import class_indices, labelled
from dtrm_jax.evaluation.paired import matched
from dtrm_jax.evaluation.predictions import PredictedTurn

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95

_CHUNK = 2**22  # numbers held at a time


def intervals(
    turns: Sequence[PredictedTurn], labels: LabelSpace, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, dict[str, float | None]]:
    """Returns the 95 % percentile interval of every score of one evaluation.

    Args:
        turns: The split; turns without a label are left out.
        labels: Its label space.
        resamples: How often the conversations are drawn.
        seed: Of NumPy's ``default_rng``. Sample r consists of the conversations, in order of appearance, with the
            indices in row r of ``integers(D, size=(R, D))``.

    Returns:
        ``accuracy``, ``weighted_f1`` and ``macro_f1`` -> ``value``, ``low``, ``high``. A single conversation tells
        nothing of others: ``low`` and ``high`` are None.

    Raises:
        InputError: No turn has a label.
    """
    counts_DxKxCxC = _confusions([labelled(turns)], labels)
    values, samples = confusion_scores(counts_DxKxCxC.sum(axis=0)), _resample(counts_DxKxCxC, resamples, seed)
    alone = len(counts_DxKxCxC) < 2
    return {name: {"value": float(values[name][0]), **_percentiles(samples[name][:, 0], alone)} for name in values}


def differences(
    first: Sequence[PredictedTurn],
    second: Sequence[PredictedTurn],
    labels: LabelSpace,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, dict[str, float | None]]:
    """Returns the difference of every score, ``second`` minus ``first``: ``mean_differences`` of one run each."""
    return mean_differences([first], [second], labels, resamples, seed)


def mean_differences(
    first: Sequence[Sequence[PredictedTurn]],
    second: Sequence[Sequence[PredictedTurn]],
    labels: LabelSpace,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, dict[str, float | None]]:
    """Returns the difference of every mean score, ``second`` minus ``first``, by a paired bootstrap.

    The score of several runs, such as the seeds of one setting, is the mean of theirs. All are scored on the same
    samples. ``p_value`` is two-sided: twice the share of samples in which the difference is 0 or on the other side of
    it, counting the split itself as one more of them, so that it is never 0, and 1 at most.

    Args:
        first: Predictions of the split by one or more runs.
        second: Others of the same turns, by as many runs or not.
        labels: The label space of all.
        resamples: As for ``intervals``.
        seed: As for ``intervals``.

    Returns:
        ``accuracy``, ``weighted_f1`` and ``macro_f1`` -> ``difference``, ``low``, ``high``, ``p_value``; all but the
        first are None if there is a single conversation.

    Raises:
        InputError: They are not all over the same turns, or no turn has a label.
    """
    like = first[0]
    runs = [labelled(like), *(labelled(matched(like, run)) for run in (*first[1:], *second))]
    counts_DxKxCxC = _confusions(runs, labels)
    values, samples = confusion_scores(counts_DxKxCxC.sum(axis=0)), _resample(counts_DxKxCxC, resamples, seed)
    alone = len(counts_DxKxCxC) < 2
    result = {}
    for name in values:
        difference, differences_R = (
            scores[..., len(first) :].mean(axis=-1) - scores[..., : len(first)].mean(axis=-1)
            for scores in (values[name], samples[name])
        )
        p_value = None if alone else _p_value(differences_R)
        result[name] = {
            "difference": float(difference),
            **_percentiles(differences_R, alone),
            "p_value": p_value,
        }
    return result


def confusion_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scores of ``metrics.classification_metrics`` for many confusion matrices at once.

    Args:
        counts: ``[..., C, C]``, a row a true class, a column a predicted one; none is empty.

    Returns:
        ``accuracy``, ``weighted_f1`` and ``macro_f1``, ``[...]`` each.
    """
    hits, true, predicted = counts.diagonal(axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    f1, n = 2 * hits / np.maximum(true + predicted, 1), true.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / n,
        "weighted_f1": (true * f1).sum(axis=-1) / n,
        "macro_f1": f1.mean(axis=-1),
    }


def _confusions(predictions: Sequence[Sequence[PredictedTurn]], labels: LabelSpace) -> np.ndarray:
    """Returns ``[D, K, C, C]`` confusion matrices of K predictions of the same labelled turns."""
    if not predictions[0]:
        raise InputError("no labelled utterance to score")
    names = [turn.dialogue_id for turn in predictions[0]]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    conversation = np.asarray([numbers[name] for name in names])
    # Floats, since NumPy has no fast product of integer matrices; they hold these counts exactly.
    counts = np.zeros((len(numbers), len(predictions), len(labels), len(labels)))
    for index, turns in enumerate(predictions):
        true, predicted = class_indices(turns, labels)
        np.add.at(counts, (conversation, index, true, predicted), 1)
    return counts


def _resample(counts_DxKxCxC: np.ndarray, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Returns the scores ``[R, K]`` of resampled conversations."""
    conversations, *rest = counts_DxKxCxC.shape
    counts_DxM = counts_DxKxCxC.reshape(conversations, -1)
    rows = max(1, _CHUNK // max(counts_DxM.shape))
    chunks = [
        confusion_scores((times_RxD @ counts_DxM).reshape(-1, *rest))
        for times_RxD in _draws(conversations, resamples, rows, seed)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _draws(conversations: int, resamples: int, rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often every conversation is in every sample, ``[up to rows, D]`` at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn_RxD = random.integers(conversations, size=(count, conversations))
        cells = (np.arange(count)[:, None] * conversations + drawn_RxD).ravel()
        yield np.bincount(cells, minlength=count * conversations).reshape(count, -1).astype(np.float64)


def _percentiles(values_R: np.ndarray, alone: bool) -> dict[str, float | None]:
    if alone:
        return {"low": None, "high": None}
    low, high = np.quantile(values_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}


def _p_value(differences_R: np.ndarray) -> float:
    beyond = min((differences_R <= 0).sum(), (differences_R >= 0).sum())
    return float(min(1, 2 * (beyond + 1) / (len(differences_R) + 1)))
