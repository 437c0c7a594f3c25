"""How far a score, or the difference of two, depends on which conversations happened to be in the split.

Whole conversations are resampled with replacement, because the turns of one are not independent. A metric needs no more
than sums over the turns of a sample (``Task.statistics``), and those are the sums of its conversations' sums, so that
thousands of samples are one matrix product. From a handful of conversations the intervals come out too narrow.

What the randomness of training adds is in a difference of settings with several seeds each, whose runs are resampled,
too (``mean_differences``); an interval of one run, or between single runs, leaves it out.

Axes are those of ``batch.py``: J conversations that have an annotated turn, Pr predictions that are compared, Bs
samples, Su sums of a conversation; Rd runs that are drawn.
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
            indices in row r of ``integers(J, size=(Bs, J))``.

    Returns:
        Metric -> ``value``, ``low``, ``high``. A single conversation tells nothing of others: ``low`` and ``high`` are
        then None.

    Raises:
        InputError: No turn is annotated.
    """
    statistics_JxPr = statistics_of([turns], task)
    values, samples = task.scores_of(statistics_JxPr.sum(axis=0)), _resample(statistics_JxPr, task, resamples, seed)
    alone = len(statistics_JxPr) < 2
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
    statistics_JxPr: np.ndarray, first: int, task: Task, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, dict[str, float | None]]:
    """Returns the difference of every metric's mean, later runs minus the first ones, by a bootstrap.

    The score of several runs, the seeds of one setting, is the mean of theirs. All are scored on the same samples of
    conversations, and every sample has its own draw of each setting's runs, with replacement, one fewer than there are:
    then the mean of those drawn varies as the mean of all does (Rao and Wu, 1988). The runs of two settings are drawn
    apart, as if a seed that they share gave them nothing in common; where it makes them alike, the interval is too
    wide. A single run is always drawn.

    ``p_value`` is two-sided: twice the share of samples in which the difference is 0 or on the other side of it,
    counting the split itself as one more of them, so that it is never 0, and 1 at most.

    Args:
        statistics_JxPr: ``Task.statistics`` of all runs.
        first: How many of the runs are the first ones.
        task: What was predicted.
        resamples: As for ``intervals``.
        seed: As for ``intervals``, for the conversations; the runs are drawn by ``default_rng([seed, 1])``, the first
            ones' in all samples before the others'.

    Returns:
        Metric -> ``difference``, ``low``, ``high``, ``p_value``; all but the first are None if there is a single
        conversation.
    """
    values, samples = task.scores_of(statistics_JxPr.sum(axis=0)), _resample(statistics_JxPr, task, resamples, seed)
    alone, random = len(statistics_JxPr) < 2, np.random.default_rng([seed, 1])
    runs = (first, statistics_JxPr.shape[1] - first)
    first_BsxRd, later_BsxRd = (random.integers(count, size=(resamples, max(1, count - 1))) for count in runs)
    result = {}
    for name, values_Pr in values.items():
        difference = values_Pr[first:].mean() - values_Pr[:first].mean()
        later_Bs = np.take_along_axis(samples[name][:, first:], later_BsxRd, axis=1).mean(axis=1)
        differences_Bs = later_Bs - np.take_along_axis(samples[name][:, :first], first_BsxRd, axis=1).mean(axis=1)
        p_value = None if alone else _p_value(differences_Bs)
        result[name] = {"difference": float(difference), **_percentiles(differences_Bs, alone), "p_value": p_value}
    return result


def statistics_of(runs: Sequence[Sequence[PredictedTurn]], task: Task) -> np.ndarray:
    """Returns ``Task.statistics`` ``[J, Pr, ___]`` of several runs' rows of the same turns in the same order."""
    annotated_N, _ = task.arrays(runs[0])
    predicted_PrxN = np.stack([task.arrays(turns)[1] for turns in runs])
    return task.statistics([turn.conversation for turn in runs[0]], annotated_N, predicted_PrxN)


def _resample(statistics_JxPr: np.ndarray, task: Task, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Returns metric -> ``[Bs, Pr]`` of resampled conversations."""
    conversations, *rest = statistics_JxPr.shape
    statistics_JxSu = statistics_JxPr.reshape(conversations, -1)
    rows = max(1, _CHUNK // max(statistics_JxSu.shape))
    chunks = [
        task.scores_of((times_BsxJ @ statistics_JxSu).reshape(-1, *rest))
        for times_BsxJ in _draws(conversations, resamples, rows, seed)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _draws(conversations: int, resamples: int, rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often every conversation is in every sample, ``[up to rows, J]`` at a time."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn_BsxJ = random.integers(conversations, size=(count, conversations))
        cells = (np.arange(count)[:, None] * conversations + drawn_BsxJ).ravel()
        yield np.bincount(cells, minlength=count * conversations).reshape(count, -1).astype(np.float64)


def _percentiles(values_Bs: np.ndarray, alone: bool) -> dict[str, float | None]:
    if alone:
        return {"low": None, "high": None}
    low, high = np.quantile(values_Bs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}


def _p_value(differences_Bs: np.ndarray) -> float:
    beyond = min((differences_Bs <= 0).sum(), (differences_Bs >= 0).sum())
    return float(min(1, 2 * (beyond + 1) / (len(differences_Bs) + 1)))
