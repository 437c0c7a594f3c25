"""An outcome as a forest plot in SVG: the seeds of each row as dots, their mean, the interval of the difference.

It is narrow enough for a phone, and each row's name stands above its line. The picture has its own background, light
or dark as the reader's screen is. The same outcome is the same file, byte for byte.
"""

import statistics
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from dtrm_jax.experiments.layout import Column
from dtrm_jax.experiments.outcome import Outcome, RowOutcome
from dtrm_jax.report.plot import ticks

WIDTH, _LEFT, _RIGHT = 440, 16, 424
_ROW, _HEADING, _AXIS, _LEGEND = 38, 30, 30, 20  # heights
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; stroke: #ffffff; stroke-width: 3; paint-order: stroke }
.small { font-size: 11.5px }
.back { fill: #ffffff }
.title { font-weight: 600 }
.grid { stroke: #d8dee4; stroke-width: 1 }
.reference { stroke: #57606a; stroke-width: 1; stroke-dasharray: 4 3 }
.interval { stroke: #0550ae; stroke-width: 2 }
.mean { stroke: #0550ae; stroke-width: 3 }
.seed { fill: #0550ae; fill-opacity: .45 }
.paper { fill: #ffffff; stroke: #bc4c00; stroke-width: 2 }
.other { stroke-dasharray: 3 2 }
.optimum { stroke: #1a7f37; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; stroke: #0d1117 }
.back, .paper { fill: #0d1117 }
.grid { stroke: #30363d }
.reference { stroke: #9198a1 }
.interval, .mean { stroke: #79c0ff }
.seed { fill: #79c0ff }
.paper { stroke: #ffa657 }
.optimum { stroke: #56d364 }
}
"""


def forest(outcome: Outcome) -> str:
    """Returns the plot of the metric that selects checkpoints: one panel per column of it, or per column if none is.

    Args:
        outcome: Of a table, at least one row of which was run.
    """
    columns = [one for one in outcome.columns if one.metric.name == outcome.select_by] or outcome.columns
    panels = [_Panel(outcome, column) for column in columns]
    parts, top = [], _HEADING
    for panel in panels:
        parts += panel.draw(top)
        top += panel.height
    legend = list(_legend(top + 6, panels))
    height = top + 6 + _LEGEND * len({one.get("y") for one in legend if one.tag == "text"}) + 6
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height}", role="img")
    svg.set("width", str(WIDTH)), svg.set("height", str(height))
    ET.SubElement(svg, "title").text = outcome.title
    ET.SubElement(svg, "style").text = _STYLE
    svg.append(_shape("rect", "back", x=0, y=0, width=WIDTH, height=height, rx=6))
    svg.append(_text(_LEFT, 20, f"{outcome.name} {outcome.split}", "title"))
    svg.extend([*parts, *legend])
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


class _Panel:
    """The rows of one column."""

    def __init__(self, outcome: Outcome, column: Column):
        self._outcome, self._column, self._metric = outcome, column, column.metric
        self._rows = [row for row in outcome.run if None not in row.scores[column.path]]
        means = {row.variant: self._scaled(statistics.fmean(row.scores[column.path])) for row in self._rows}
        # A difference is one in the metric that selects checkpoints over all turns, whatever else has that metric.
        whole = column.path in (f"{outcome.split}.{outcome.select_by}", f"shifts.all.{outcome.select_by}")
        self._reference = means.get(outcome.reference) if whole else None
        shown = [value for row in self._rows for value in self._values(row)]
        low, high = min(shown, default=0.0), max(shown, default=1.0)
        margin = 0.04 * (high - low or 1.0)
        self._low, self._high = low - margin, high + margin

    @property
    def height(self) -> int:
        """Of the panel, its heading and axis included."""
        return _HEADING + _ROW * len(self._rows) + _AXIS

    @property
    def marks(self) -> set[str]:
        """What there is to explain."""
        rows = self._rows
        there = {
            "interval": any(self._interval(row) for row in rows),
            "paper": any(self._paper(row) is not None for row in rows if not row.paper_modalities),
            "paper other": any(self._paper(row) is not None for row in rows if row.paper_modalities),
            "optimum": any(self._optimum(row) is not None for row in rows),
            "reference": self._reference is not None and len(rows) > 1,
        }
        return {name for name, is_there in there.items() if is_there}

    def draw(self, top: int) -> Iterator[ET.Element]:
        """Yields the panel's shapes, from ``top`` downwards."""
        unit = ", percent" if self._metric.percent else ""
        yield _text(_LEFT, top + 14, f"{self._column.title}{unit}")
        begin, end = top + _HEADING - 6, top + _HEADING + _ROW * len(self._rows)
        for tick in ticks(self._low, self._high):
            yield _line("grid", self._x(tick), begin, self._x(tick), end)
            yield _text(self._x(tick), end + 15, f"{tick:g}", "small", anchor="middle")
        if "reference" in self.marks:
            yield _line("reference", self._x(self._reference), begin, self._x(self._reference), end)
        for number, row in enumerate(self._rows):
            yield from self._draw_row(row, top + _HEADING + _ROW * number)

    def _draw_row(self, row: RowOutcome, top: int) -> Iterator[ET.Element]:
        seeds = [self._scaled(score) for score in row.scores[self._column.path]]
        mean, y, digits = statistics.fmean(seeds), top + 24, 1 if self._metric.percent else 3
        spread = f" ± {statistics.stdev(seeds):.{digits}f}" if len(seeds) > 1 else ""
        yield _text(_LEFT, top + 12, row.marked)
        yield _text(_RIGHT, top + 12, f"{mean:.{digits}f}{spread}", anchor="end")
        if interval := self._interval(row):
            low, high = map(self._x, interval)
            yield _line("interval", low, y, high, y)
            for end in (low, high):
                yield _line("interval", end, y - 4, end, y + 4)
        for seed in seeds:
            yield _shape("circle", "seed", cx=self._x(seed), cy=y, r=4)
        yield _line("mean", self._x(mean), y - 6, self._x(mean), y + 6)
        if (optimum := self._optimum(row)) is not None:
            yield _line("optimum", self._x(optimum), y - 7, self._x(optimum), y + 7)
        if (paper := self._paper(row)) is not None:
            yield _diamond(self._x(paper), y, "paper other" if row.paper_modalities else "paper")

    def _values(self, row: RowOutcome) -> list[float]:
        more = [self._paper(row), self._optimum(row), *(self._interval(row) or ())]
        seeds = [self._scaled(score) for score in row.scores[self._column.path]]
        return seeds + [value for value in more if value is not None]

    def _interval(self, row: RowOutcome) -> tuple[float, float] | None:
        """Of the difference, from the reference's mean on."""
        one = row.difference
        if self._reference is None or not one or one["low"] is None:
            return None
        return self._reference + self._scaled(one["low"]), self._reference + self._scaled(one["high"])

    def _paper(self, row: RowOutcome) -> float | None:
        return (row.paper or {}).get(self._column.path)

    def _optimum(self, row: RowOutcome) -> float | None:
        """The best possible accuracy, on the panel of the accuracy over all turns."""
        is_accuracy = self._column.path in ("test.accuracy", "shifts.all.accuracy")
        return self._scaled(row.optimum) if is_accuracy and row.optimum is not None else None

    def _scaled(self, score: float) -> float:
        return self._metric.scale * score

    def _x(self, value: float) -> float:
        return _LEFT + (value - self._low) / (self._high - self._low) * (_RIGHT - _LEFT)


def _legend(top: int, panels: Sequence[_Panel]) -> Iterator[ET.Element]:
    """Yields what the marks mean, one line each."""
    marks = set().union(*(panel.marks for panel in panels))
    y = top + 10
    yield _shape("circle", "seed", cx=_LEFT + 6, cy=y, r=4)
    yield _line("mean", _LEFT + 20, y - 6, _LEFT + 20, y + 6)
    yield _text(_LEFT + 34, y + 4, "a seed, and their mean", "small")
    told = (
        ("interval", "95 % interval of the difference from the reference"),
        ("reference", "the reference"),
        ("optimum", "the best possible accuracy"),
        ("paper", "the paper"),
        ("paper other", "the paper, with other modalities"),
    )
    for mark, meaning in told:
        if mark not in marks:
            continue
        y += _LEGEND
        if mark.startswith("paper"):
            yield _diamond(_LEFT + 13, y, mark)
        elif mark == "interval":
            yield _line(mark, _LEFT + 2, y, _LEFT + 24, y)
        else:
            yield _line(mark, _LEFT + 13, y - 7, _LEFT + 13, y + 7)
        yield _text(_LEFT + 34, y + 4, meaning, "small")


def _shape(tag: str, kind: str, **attributes: float) -> ET.Element:
    written = {name: f"{value:.1f}".removesuffix(".0") for name, value in attributes.items()}
    return ET.Element(tag, {"class": kind, **written})


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> ET.Element:
    return _shape("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)


def _diamond(x: float, y: float, kind: str) -> ET.Element:
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in ((0, -6), (6, 0), (0, 6), (-6, 0)))
    return ET.Element("polygon", {"class": kind, "points": points})


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> ET.Element:
    element = ET.Element("text", x=f"{x:.1f}".removesuffix(".0"), y=f"{y:.1f}".removesuffix(".0"))
    if kind:
        element.set("class", kind)
    if anchor:
        element.set("text-anchor", anchor)
    element.text = text
    return element
