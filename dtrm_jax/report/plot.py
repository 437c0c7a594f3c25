"""Plots as coordinates, which the page's template draws as SVG: a frame with ticks, lines, dots and a mark.

Coordinates are those of a ``WIDTH`` by ``HEIGHT`` picture, y downwards. It is small, so that its text stays readable
where a phone shows it at its own size; wide screens show several beside each other.
"""

import dataclasses
import math
from collections.abc import Sequence

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 348, 12, 192
_TICKS = 6  # of an axis, at most

Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Series:
    """The points of one quantity, and how they are drawn.

    Attributes:
        name: For the legend.
        style: ``line``, ``dotted`` (a line with a dot at every point), ``dashed`` or ``cloud`` (dots alone).
        points: ``(x, y)``, in their own units.
    """

    name: str
    style: str
    points: Points


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A series as SVG: the path of its line, or of its cloud, and its dots."""

    name: str
    style: str
    path: str
    dots: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot as the template takes it.

    Attributes:
        title: Its heading.
        x_name: What the horizontal axis shows.
        x_ticks: ``(coordinate, text)``.
        y_ticks: The same of the vertical axis.
        series: What is drawn.
        mark: Coordinate and text of a vertical line. If None, there is none.
    """

    title: str
    x_name: str
    x_ticks: list[tuple[str, str]]
    y_ticks: list[tuple[str, str]]
    series: list[Drawn]
    mark: tuple[str, str] | None


def make_plot(title: str, x_name: str, series: Sequence[Series], mark: tuple[float, str] | None = None) -> Plot:
    """Scales the axes to all points, of which there is at least one, and the mark."""
    xs = [x for one in series for x, _ in one.points] + ([mark[0]] if mark else [])
    ys = [y for one in series for _, y in one.points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    x_scale, y_scale = _Scale(xs, x_ticks, LEFT, RIGHT), _Scale(ys, y_ticks, BOTTOM, TOP)
    return Plot(
        title=title,
        x_name=x_name,
        x_ticks=[(x_scale(tick), f"{tick:g}") for tick in x_ticks],
        y_ticks=[(y_scale(tick), f"{tick:g}") for tick in y_ticks],
        series=[_draw(one, x_scale, y_scale) for one in series],
        mark=(x_scale(mark[0]), mark[1]) if mark else None,
    )


def ticks(low: float, high: float) -> list[float]:
    """Returns at most six round numbers from ``low`` to ``high``, or one outside if there is none between them.

    They are multiples of 1, 2 or 5 times a power of ten.
    """
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    for step in (factor * power for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < _TICKS:
            break
    # By a product of integers and the step, whose digits are cut to those it has: no 0.30000000000000004.
    return [float(f"{index * step:.12g}") for index in range(min(first, last), last + 1)]


def thinned(points: Points, most: int) -> Points:
    """Returns at most ``most`` points, each the mean of a few neighbours."""
    size = max(1, math.ceil(len(points) / most))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


class _Scale:
    """Maps values to coordinates, as text with one decimal."""

    def __init__(self, values: Sequence[float], shown: Sequence[float], begin: float, end: float):
        self._low, self._high = min(*values, *shown), max(*values, *shown)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> str:
        share = (value - self._low) / (self._high - self._low) if self._high > self._low else 0.5
        return f"{self._begin + share * (self._end - self._begin):.1f}".removesuffix(".0")


def _draw(series: Series, x_scale: _Scale, y_scale: _Scale) -> Drawn:
    points = [(x_scale(x), y_scale(y)) for x, y in series.points]
    if series.style == "cloud":
        # Strokes of no length with round ends: a hundredth of the text that as many circles take.
        return Drawn(series.name, series.style, "".join(f"M{x} {y}h0" for x, y in dict.fromkeys(points)), [])
    path = "M" + "L".join(f"{x} {y}" for x, y in points) if points else ""
    return Drawn(series.name, series.style, path, points if series.style == "dotted" else [])
