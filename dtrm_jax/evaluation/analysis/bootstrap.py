"""How far a score, or the difference of two, depends on which conversations happened to be in the split.

Whole conversations are resampled with replacement, because the turns of one are not independent. A metric needs no more
than sums over the turns of a sample (``Task.statistics``), and those are the sums of its conversations' sums, so that
thousands of samples are one matrix product. From a handful of conversations the intervals come out too narrow. They
leave out what the randomness of training adds: for that, compare seeds.

Axes: R resamples, D conversations with an annotated turn, K predictions that are compared, M all sums of a conversation
in one row.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from dtrm_jax.evaluation.analysis.paired import matched
from dtrm_jax.tasks import PredictedTurn, Task

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95

_CHUNK = 2**22  # numbers held at a time


def intervals(
    turns: Sequence[PredictedTurn], task: Task, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, dict[str, float | None]]:
    """Returns the 95 % percentile interval of every metric of one evaluation.

    Args:
        turns: The split; turns without an annotation are left out.
        task: What was predicted.
        resamples: How often the conversations are drawn.
        seed: Of NumPy's ``default_rng``. Sample r consists of the conversations, in order of appearance, with the
            indices in row r of ``integers(D, size=(R, D))``.

    Returns:
        Metric -> ``value``, ``low``, ``high``. A single conversation tells nothing of others: ``low`` and ``high`` are
        then None.

    Raises:
        InputError: No turn is annotated.
    """
    statistics_DxK = statistics_of([turns], task)
    values, samples = (
        task.scores_of(statistics_DxK.sum(axis=0)),
        _resample(statistics_DxK, task, resamples, seed),
    )
    alone = len(statistics_DxK) < 2
    return {name: {"value": float(values[name][0]), **_percentiles(samples[name][:, 0], alone)} for name in values}


def differences(
    first: Sequence[PredictedTurn],
    second: Sequence[PredictedTurn],
    task: Task,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, dict[str, float | None]]:
    """Returns the difference of every metric, ``second`` minus ``first``: ``mean_differences`` of one run each.

    Raises:
        InputError: They are not over the same turns, or no turn is annotated.
    """
    return mean_differences(statistics_of([first, matched(first, second)], task), 1, task, resamples, seed)


def mean_differences(
    statistics_DxK: np.ndarray, first: int, task: Task, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, dict[str, float | None]]:
    """Returns the difference of every metric's mean, later runs minus the first ones, by a paired bootstrap.

    The score of several runs, such as the seeds of one setting, is the mean of theirs. All are scored on the same
    samples. ``p_value`` is two-sided: twice the share of samples in which the difference is 0 or on the other side of
    it, counting the split itself as one more of them, so that it is never 0, and 1 at most.

    Args:
        statistics_DxK: ``Task.statistics`` of all runs.
        first: How many of the K runs are the first ones.
        task: What was predicted.
        resamples: As for ``intervals``.
        seed: As for ``intervals``.

    Returns:
        Metric -> ``difference``, ``low``, ``high``, ``p_value``; all but the first are None if there is a single
        conversation.
    """
    values, samples = task.scores_of(statistics_DxK.sum(axis=0)), _resample(statistics_DxK, task, resamples, seed)
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


def statistics_of(runs: Sequence[Sequence[PredictedTurn]], task: Task) -> np.ndarray:
    """Returns ``Task.statistics`` ``[D, K, ___]`` of K runs' rows of the same turns in the same order."""
    annotated_N, _ = task.arrays(runs[0])
    predicted_KxN = np.stack([task.arrays(turns)[1] for turns in runs])
    return task.statistics([turn.dialogue_id for turn in runs[0]], annotated_N, predicted_KxN)


def _resample(statistics_DxK: np.ndarray, task: Task, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Returns metric -> ``[R, K]`` of resampled conversations."""
    conversations, *rest = statistics_DxK.shape
    statistics_DxM = statistics_DxK.reshape(conversations, -1)
    rows = max(1, _CHUNK // max(statistics_DxM.shape))
    chunks = [
        task.scores_of((times_RxD @ statistics_DxM).reshape(-1, *rest))
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
