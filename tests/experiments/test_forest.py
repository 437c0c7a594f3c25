"""Forest plots: every mark stands where its number is, inside the picture, the same every time."""

import dataclasses
import statistics
import xml.etree.ElementTree as ET

import pytest

from dtrm_jax.experiments import pages
from dtrm_jax.experiments.forest import WIDTH, forest
from tests.runs import ROOT

OUTCOME = pages.read(ROOT / "results" / "meld_minilm" / "table3.json")
NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


def marks(svg, kind):
    """The elements of a class."""
    return [one for one in ET.fromstring(svg).iter() if one.get("class") == kind]


def texts(svg):
    return [one.text for one in ET.fromstring(svg).iterfind(".//svg:text", NAMESPACE)]


def scale(svg):
    """A function from a score in percent to its coordinate, from the grid and its numbers."""
    xs = [float(line.get("x1")) for line in marks(svg, "grid")]
    ticks = [float(one.text) for one in marks(svg, "small") if one.get("text-anchor") == "middle"]
    (x0, *_, x1), (t0, *_, t1) = xs, ticks
    return lambda value: x0 + (value - t0) / (t1 - t0) * (x1 - x0)


def test_every_mark_stands_where_its_number_is():
    svg = forest(OUTCOME)
    x, rows = scale(svg), OUTCOME.run
    scores = {row.variant: [100 * score for score in row.scores["test.weighted_f1"]] for row in rows}
    dots = [float(dot.get("cx")) for dot in marks(svg, "seed")]
    assert dots[:-1] == pytest.approx([x(score) for row in rows for score in scores[row.variant]], abs=0.2)
    means = {name: statistics.fmean(found) for name, found in scores.items()}
    assert [float(line.get("x1")) for line in marks(svg, "mean")][:-1] == pytest.approx(
        [x(mean) for mean in means.values()], abs=0.2
    )
    whole = [line for line in marks(svg, "interval") if line.get("y1") == line.get("y2")]
    expected = [
        (x(means["u"] + 100 * row.difference["low"]), x(means["u"] + 100 * row.difference["high"]))
        for row in rows
        if row.difference
    ]
    found = [(float(line.get("x1")), float(line.get("x2"))) for line in whole[:-1]]
    assert found == [pytest.approx(pair, abs=0.2) for pair in expected]
    diamond = marks(svg, "paper")[0].get("points").split(",")[0]
    assert float(diamond) == pytest.approx(x(63.2), abs=0.2)
    reference = marks(svg, "reference")[0]
    assert float(reference.get("x1")) == pytest.approx(x(means["u"]), abs=0.2)
    spread = f"{means['u']:.1f} ± {statistics.stdev(scores['u']):.1f}"
    assert {spread, "BERT alone", "MELD test", "the paper"} <= set(texts(svg))


def test_a_plot_is_the_same_every_time_and_nothing_sticks_out():
    for file in sorted((ROOT / "results").glob("*/*.json")):
        if not file.with_suffix(".md").is_file():
            continue
        outcome = pages.read(file)
        svg = forest(outcome)
        assert svg == forest(outcome) and len(svg) < 20_000
        root = ET.fromstring(svg)
        height = float(root.get("height"))
        for one in root.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(one.get(name, 0)) <= WIDTH
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(one.get(name, 0)) <= height


def test_names_are_text_and_a_panel_stands_for_each_column_of_the_metric():
    row = dataclasses.replace(OUTCOME.rows[1], shown="<b> & </style>", paper_modalities="uav")
    svg = forest(dataclasses.replace(OUTCOME, rows=[row]))
    assert "<b> & </style>" in texts(svg) and "the paper, with other modalities" in texts(svg)
    assert len(marks(svg, "paper other")) == 2 and not marks(svg, "paper")
    shifts = forest(pages.read(ROOT / "results" / "meld_minilm" / "table6.json"))
    assert [text for text in texts(shifts) if text.endswith(", percent")] == [
        "all F1, percent",
        "Intra-ES F1, percent",
        "Inter-ES F1, percent",
    ]


def test_the_best_possible_accuracy_is_drawn_on_accuracies():
    svg = forest(pages.read(ROOT / "results" / "planted" / "planted.json"))
    assert len(marks(svg, "optimum")) == 5 + 1 and "the best possible accuracy" in texts(svg)
    assert not marks(forest(OUTCOME), "optimum")


def test_a_row_that_sees_the_future_says_so():
    first, *others = OUTCOME.rows
    ahead = dataclasses.replace(OUTCOME, rows=[dataclasses.replace(first, causal=False), *others])
    assert f"{first.shown} (not causal)" in texts(forest(ahead))
    assert not any("not causal" in text for text in texts(forest(OUTCOME)))
