"""Values of a feature that lie so far out that they are no measurements: a clip cut wrongly, a division by nothing.

What is far out must be judged by what is not: a single value of 1e8 makes the mean and the deviation of its column its
own. The measure is the middle 90 % of the turns, of which no twentieth of the turns can change the width.
"""

import numpy as np

_MIDDLE = 0.05  # of the turns are left out at either end
_DEVIATIONS = 3.29  # the width of what is left of a normal distribution, in its standard deviations
_FEWEST = 20  # turns; of fewer, a single one is more than a twentieth


def without_outliers(matrix: np.ndarray, bound: float) -> np.ndarray:
    """Moves values that are far out to where far out begins, column by column.

    Of a column that has one value in more than half of the turns, such as a count that is mostly 0, the others are
    the measure: otherwise each of them would be far out.

    Args:
        matrix: float64 ``[N, M]``, finite.
        bound: How many deviations from the middle far out begins.

    Returns:
        The matrix itself if nothing is far out, else a copy.
    """
    if len(matrix) < _FEWEST:
        return matrix
    low, high = np.array([_ends(matrix[:, column], bound) for column in range(matrix.shape[1])]).T
    if ((matrix >= low) & (matrix <= high)).all():
        return matrix
    return np.clip(matrix, low, high)


def _ends(values: np.ndarray, bound: float) -> tuple[float, float]:
    """Returns where far out begins on either side of ``[N]`` values; infinity if they do not tell."""
    ordered = np.sort(values)
    middle = ordered[len(ordered) // 2]
    first, after = np.searchsorted(ordered, middle, "left"), np.searchsorted(ordered, middle, "right")
    if 2 * (after - first) > len(ordered):
        ordered = np.concatenate([ordered[:first], ordered[after:]])
    if len(ordered) < _FEWEST:
        return -np.inf, np.inf
    left_out = int(np.ceil(_MIDDLE * (len(ordered) - 1)))
    low, high = ordered[left_out], ordered[-1 - left_out]
    reach = bound * (max(high, middle) - min(low, middle)) / _DEVIATIONS
    return (middle - reach, middle + reach) if reach > 0 else (-np.inf, np.inf)
