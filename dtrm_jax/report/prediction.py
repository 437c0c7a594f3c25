"""The page of predictions that nothing scores: the emotions of conversations without labels."""

import dataclasses
from pathlib import Path

from dtrm_jax.evaluation.files import predictions
from dtrm_jax.provenance import made_with
from dtrm_jax.replacing import replacing
from dtrm_jax.report import cases
from dtrm_jax.report.about import causality, when
from dtrm_jax.report.drawing import draw
from dtrm_jax.report.facts import FILE, PredictionFacts
from dtrm_jax.report.kinds import kind_of
from dtrm_jax.report.overview import overview


def write_prediction_report(folder: Path) -> Path:
    """Draws ``report.html`` from ``predictions.csv`` and ``prediction.json`` beside it; an existing one is replaced.

    The page shows the first conversations and says how many are left out. Labels, where the file has some, are shown;
    nothing is scored.

    Args:
        folder: Where ``evaluation.files.predictions`` and ``PredictionFacts`` have written the two.

    Returns:
        The page.

    Raises:
        InputError: One of the files is missing or damaged.
    """
    facts = PredictionFacts.read(folder)
    with predictions.reading(folder / "predictions.csv") as (task, rows):
        kind = kind_of(task)
        seen = overview(rows, kind.spread(task))
    turns = [turn for conversation in seen.shown for turn in conversation]
    values = {
        "facts": facts,
        "origin": made_with("predicted", facts.provenance),
        "when": when(dataclasses.asdict(facts), folder / FILE),
        "causal": causality(facts.causal),
        "spread": seen.spread,
        **cases.content(seen, kind, task, turns),
    }
    path = folder / "report.html"
    with replacing(path) as file:
        file.write(draw("prediction.html", values))
    return path
