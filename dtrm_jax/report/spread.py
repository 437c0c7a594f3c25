"""How predictions spread: over classes, or over a range of real values."""

from dtrm_jax.tasks import ClassTurn, PredictedTurn, ValueTurn


class Spread:
    """Of any other kind of emotions: nothing is known of it."""

    def add(self, turn: PredictedTurn) -> None:
        """Counts a turn."""


class ClassSpread(Spread):
    """Over classes.

    Attributes:
        counts: Class -> how many turns are predicted to be of it.
        sums: Class -> the sum of its probability over these turns.
    """

    def __init__(self, names: tuple[str, ...]):
        self.counts, self.sums = dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
        self._places = {name: place for place, name in enumerate(names)}

    def add(self, turn: ClassTurn) -> None:
        """Counts a turn."""
        self.counts[turn.prediction] += 1
        self.sums[turn.prediction] += turn.probabilities[self._places[turn.prediction]]

    @property
    def rows(self) -> list[tuple[str, int, float, float | None]]:
        """For each class its name, how many turns, their share of all, and the mean probability of the class there."""
        total = max(sum(self.counts.values()), 1)
        return [(name, n, n / total, self.sums[name] / n if n else None) for name, n in self.counts.items()]


class ValueSpread(Spread):
    """Over the range of each target.

    Attributes:
        ranges: Target -> the lowest and the highest value, predicted or annotated; None if there is no turn.
        rows: For each target its name, and the lowest, the mean and the highest predicted value.
    """

    def __init__(self, names: tuple[str, ...]):
        self.ranges: dict[str, tuple[float, float] | None] = dict.fromkeys(names)
        self._predicted: dict[str, tuple[float, float] | None] = dict.fromkeys(names)
        self._sums, self._turns = dict.fromkeys(names, 0.0), 0

    def add(self, turn: ValueTurn) -> None:
        """Counts a turn."""
        self._turns += 1
        for name, label, value in zip(self.ranges, turn.labels, turn.predictions, strict=True):
            self._sums[name] += value
            self._predicted[name] = _widened(self._predicted[name], value)
            self.ranges[name] = _widened(self.ranges[name], value if label is None else label)
            self.ranges[name] = _widened(self.ranges[name], value)

    @property
    def rows(self) -> list[tuple[str, float, float, float]]:
        """See above."""
        found = ((name, ends) for name, ends in self._predicted.items() if ends is not None)
        return [(name, low, self._sums[name] / self._turns, high) for name, (low, high) in found]


def _widened(ends: tuple[float, float] | None, value: float) -> tuple[float, float]:
    return (value, value) if ends is None else (min(ends[0], value), max(ends[1], value))
