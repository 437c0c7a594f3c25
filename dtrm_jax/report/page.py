"""The page: what its template is given, and how it is written."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dtrm_jax.conversation import MODALITIES, LabelSpace
from dtrm_jax.evaluation.files.predictions import ValuedTurn
from dtrm_jax.evaluation.table import percent
from dtrm_jax.replacing import replacing
from dtrm_jax.report import plot
from dtrm_jax.report.about import about, settings
from dtrm_jax.report.cases import WORST, cases
from dtrm_jax.report.inside_tables import attention_summaries, fusion_table, gate_table
from dtrm_jax.report.plot import Plot, Series, make_plot
from dtrm_jax.report.sources import Evaluation, by_conversation, read_evaluation
from dtrm_jax.report.training import training_curves
from dtrm_jax.run_directory import RunDirectory

_TEMPLATES = Path(__file__).parent / "templates"
# Conversations that are open at first, and so printed; the reader opens others.
_OPENED = 3


def write_report(run: RunDirectory, split: str) -> Path:
    """Draws ``eval/<split>/report.html`` from the files beside it; one that is there is replaced.

    Args:
        run: The run directory, after the evaluation of the split.
        split: train, dev or test.

    Returns:
        The file.

    Raises:
        InputError: A file that it is drawn from is missing or damaged.
    """
    text = render(read_evaluation(run, split))
    path = run.evaluation(split) / "report.html"
    with replacing(path) as file:
        file.write(text)
    return path


def render(evaluation: Evaluation) -> str:
    """Returns the page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    style, script = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "filter.js"))
    # The page forbids itself every script but this one, and every request.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "script_hash": digest}
    return environment.get_template("report.html").render(**_content(evaluation), **own)


def _content(evaluation: Evaluation) -> dict[str, Any]:
    metrics, config, turns = evaluation.metrics, evaluation.config, evaluation.turns
    training = training_curves(evaluation.records, config.train.select_by, metrics["step"])
    shown, classes = cases(turns), isinstance(evaluation.labels, LabelSpace)
    names = evaluation.labels.names
    groups = names if classes else ()
    gates, fusion = gate_table(turns, groups), fusion_table(turns, groups)
    attention = attention_summaries(turns, groups, config.tokens.window)
    return {
        "metrics": metrics,
        "analysis": evaluation.analysis,
        "labels": list(names),
        "classes": classes,
        "conversations": len(by_conversation(turns)),
        "turns": len(turns),
        "about": about(evaluation, training),
        "settings": settings(evaluation.config),
        "majority": _majority(metrics) if classes else None,
        "reliability": _reliability(evaluation.analysis) if classes else None,
        "scatters": [] if classes else _scatters(evaluation),
        "training": training,
        "gates": gates,
        "fusion": fusion,
        "attention": attention,
        "insides_title": "Gates and attention" if gates else "Attention" if fusion or attention else "",
        "gate_names": [] if gates is None else [_pair_name(pair, " : ") for pair in gates.columns],
        "fusion_names": [] if fusion is None else [_position_name(position) for position in fusion.columns],
        "window": config.tokens.window,
        "cases": shown,
        "shown": sum(len(case.turns) for case in shown),
        "opened": _OPENED,
        "worst": round(100 * WORST),
        "plot": plot,
    }


def _pair_name(pair: str, between: str) -> str:
    return between.join(MODALITIES[letter] for letter in pair)


def _position_name(position: str) -> str:
    return "itself" if position == "e_CLS" else _pair_name(position, " | ")


def _majority(metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns what always answering the split's most frequent class would score."""
    name, row = max(metrics["per_class"].items(), key=lambda item: item[1]["support"])
    share = row["support"] / metrics["n"]
    f1 = 2 * share / (1 + share)
    return {"label": name, "accuracy": share, "weighted_f1": share * f1, "macro_f1": f1 / len(metrics["per_class"])}


def _reliability(analysis: dict[str, Any]) -> Plot:
    bins = [one for one in analysis["calibration"]["bins"] if one["n"]]
    series = [
        Series("as it should be", "dashed", [(0, 0), (100, 100)]),
        Series("found", "dotted", [(100 * one["confidence"], 100 * one["accuracy"]) for one in bins]),
    ]
    return make_plot("Accuracy by confidence, percent", "confidence", series)


def _scatters(evaluation: Evaluation) -> list[Plot]:
    plots = []
    for index, name in enumerate(evaluation.labels.names):
        points = [_pair(turn, index) for turn in evaluation.turns if turn.labels[index] is not None]
        if points:
            ends = [min(map(min, points)), max(map(max, points))]
            same = Series("equal", "dashed", [(end, end) for end in ends])
            plots.append(make_plot(name, "annotated", [Series("predicted", "cloud", points), same]))
    return plots


def _pair(turn: ValuedTurn, index: int) -> tuple[float, float]:
    return turn.labels[index], turn.predictions[index]
