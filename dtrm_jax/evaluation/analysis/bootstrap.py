"""How far a score, or the difference of two, depends on which conversations happened to be in the split.

Whole conversations are resampled with replacement, because the turns of one are not independent. A score needs no more
than the confusion matrix of a sample, and that is the sum of its conversations' matrices, so that thousands of samples
are one matrix product. From a handful of conversations the intervals come out too narrow. What training's randomness
adds is not in them at all: for that, compare seeds.

Axes: R resamples, D conversations with a labelled turn, K predictions that are compared, C classes, V real values, N
turns, S sums.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import class_indices, labelled
from dtrm_jax.evaluation.analysis.paired import matched
from dtrm_jax.evaluation.files.predictions import PredictedTurn

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95

_CHUNK = 2**22  # numbers held at a time

# Sums over turns, [..., K, ___] -> name -> [..., K].
Score = Callable[[np.ndarray], dict[str, np.ndarray]]


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
    values, samples = (
        confusion_scores(counts_DxKxCxC.sum(axis=0)),
        _resample(counts_DxKxCxC, confusion_scores, resamples, seed),
    )
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
    return _mean_differences(_confusions(runs, labels), confusion_scores, len(first), resamples, seed)


def mean_differences_of_values(
    conversation_N: np.ndarray,
    values_NxV: np.ndarray,
    first_KxNxV: np.ndarray,
    second_KxNxV: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, dict[str, float | None]]:
    """As ``mean_differences``, of real values.

    Args:
        conversation_N: Which conversation each of N turns belongs to, 0 to D - 1.
        values_NxV: Annotations; NaN where there is none.
        first_KxNxV: What one or more runs predicted.
        second_KxNxV: What others predicted.
        resamples: As for ``intervals``.
        seed: As for ``intervals``.

    Returns:
        ``pearson_r`` and ``mae``, means over the V targets, each as in ``mean_differences``.

    Raises:
        InputError: There is no annotation.
    """
    runs_KxNxV = np.concatenate([first_KxNxV, second_KxNxV])
    sums_DxKxVxS = _moments(conversation_N, np.asarray(values_NxV, np.float64), runs_KxNxV.astype(np.float64))
    return _mean_differences(sums_DxKxVxS, moment_scores, len(first_KxNxV), resamples, seed)


def _mean_differences(
    statistics_DxK: np.ndarray, score: Score, first: int, resamples: int, seed: int
) -> dict[str, dict[str, float | None]]:
    """Returns the differences between the mean scores of the first K runs and of the others."""
    values, samples = score(statistics_DxK.sum(axis=0)), _resample(statistics_DxK, score, resamples, seed)
    alone = len(statistics_DxK) < 2
    result = {}
    for name in values:
        difference, differences_R = (
            scores[..., first:].mean(axis=-1) - scores[..., :first].mean(axis=-1)
            for scores in (values[name], samples[name])
        )
        p_value = None if alone else _p_value(differences_R)
        result[name] = {"difference": float(difference), **_percentiles(differences_R, alone), "p_value": p_value}
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


def moment_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scores of ``metrics.value_metrics`` from sums over turns, for many samples at once.

    Args:
        sums: ``[..., V, S]``: of each target the number of annotated turns and their sums of x, y, x^2, y^2, x y and
            |x - y|, annotation x and prediction y, each less any constant of its own, but for the last.

    Returns:
        ``pearson_r`` (0 where one of the two does not vary) and ``mae``, ``[...]`` each: means over the targets that
        have annotations.
    """
    n, x, y, xx, yy, xy, off = np.moveaxis(sums, -1, 0)
    there, n = n > 0, np.maximum(n, 1)
    variance_x, variance_y = np.maximum(xx / n - (x / n) ** 2, 0), np.maximum(yy / n - (y / n) ** 2, 0)
    # Rounding leaves a little where nothing varies.
    varies = (variance_x > 1e-12 * np.maximum(xx / n, 1e-30)) & (variance_y > 1e-12 * np.maximum(yy / n, 1e-30))
    r = np.where(varies, (xy / n - x * y / n**2) / np.sqrt(np.where(varies, variance_x * variance_y, 1)), 0)
    targets = np.maximum(there.sum(axis=-1), 1)
    return {"pearson_r": (r * there).sum(axis=-1) / targets, "mae": (off / n * there).sum(axis=-1) / targets}


def _moments(conversation_N: np.ndarray, values_NxV: np.ndarray, runs_KxNxV: np.ndarray) -> np.ndarray:
    """Returns ``[D, K, V, S]``, what ``moment_scores`` takes, of every conversation."""
    there_NxV = ~np.isnan(values_NxV)
    if not there_NxV.any():
        raise InputError("no annotated utterance to score")
    known_NxV = np.where(there_NxV, values_NxV, 0)
    off_KxNxV = np.abs(known_NxV - runs_KxNxV)
    # Around the means, so that no digits are lost in the squares.
    x = known_NxV - known_NxV.sum(axis=0) / np.maximum(there_NxV.sum(axis=0), 1)
    y = runs_KxNxV - runs_KxNxV.mean(axis=1, keepdims=True)
    x = np.broadcast_to(x, y.shape)
    terms_KxNxVxS = np.stack([np.ones_like(y), x, y, x * x, y * y, x * y, off_KxNxV], axis=-1)
    terms_KxNxVxS = terms_KxNxVxS * there_NxV[..., None]
    sums = np.zeros((int(conversation_N.max()) + 1, *terms_KxNxVxS[:, 0].shape))
    np.add.at(sums, conversation_N, np.moveaxis(terms_KxNxVxS, 1, 0))
    return sums


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


def _resample(statistics_DxK: np.ndarray, score: Score, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Returns the scores ``[R, K]`` of resampled conversations; ``score`` takes the sums of their statistics."""
    conversations, *rest = statistics_DxK.shape
    statistics_DxM = statistics_DxK.reshape(conversations, -1)
    rows = max(1, _CHUNK // max(statistics_DxM.shape))
    chunks = [
        score((times_RxD @ statistics_DxM).reshape(-1, *rest))
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
