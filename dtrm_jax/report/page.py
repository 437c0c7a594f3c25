"""The page of an evaluation: what its template is given, and how it is written."""

import dataclasses
from pathlib import Path
from typing import Any

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.evaluation.files.results import METRICS
from dtrm_jax.replacing import replacing
from dtrm_jax.report import cases
from dtrm_jax.report.about import about, of_other, settings, when
from dtrm_jax.report.drawing import draw
from dtrm_jax.report.gates_and_attention import attention_summaries, means
from dtrm_jax.report.kinds import Kind, kind_of
from dtrm_jax.report.overview import overview
from dtrm_jax.report.sources import Sources, read_sources
from dtrm_jax.report.training import training_curves
from dtrm_jax.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Card:
    """A headline score: its title, its value in print, and what stands below it."""

    title: str
    value: str
    note: str


def write_report(run: RunDirectory, evaluation: str) -> Path:
    """Draws ``eval/<evaluation>/report.html`` from the files beside it; an existing one is replaced.

    Args:
        run: The run directory, after the evaluation.
        evaluation: The name of its folder: train, dev or test, or for other data ``test@<name>``.

    Returns:
        The file.

    Raises:
        InputError: A file that it is drawn from is missing or damaged.
    """
    text = render(read_sources(run, evaluation))
    path = run.evaluation(evaluation) / "report.html"
    with replacing(path) as file:
        file.write(text)
    return path


def render(sources: Sources) -> str:
    """Returns the page as HTML."""
    return draw("report.html", _content(sources, kind_of(sources.task)))


def _content(sources: Sources, kind: Kind) -> dict[str, Any]:
    metrics, config, turns, task = sources.metrics, sources.config, sources.turns, sources.task
    training = training_curves(sources.records, task, config.train.select_by, metrics["step"])
    return {
        "run": sources.run,
        "of_other": of_other(metrics),
        "when": when({"version": "unknown", **metrics}, sources.results / METRICS),
        "metrics": metrics,
        "analysis": sources.analysis,
        "sections": kind.sections,
        "cards": _cards(sources, kind),
        "about": about(sources, training),
        "settings": settings(config),
        "training": training,
        **cases.content(overview(turns, kind.spread(task)), kind, task, turns),
        **_insides(sources, kind.groups(task)),
        **kind.content(sources),
    }


def _cards(sources: Sources, kind: Kind) -> list[Card]:
    """Returns the metrics that the files have, the most prominent first; those with an interval have it below."""
    result = []
    for metric in sources.task.ranked_metrics:
        if metric.name not in sources.metrics:
            continue
        note = kind.note
        if sources.analysis is not None and metric.name in sources.analysis["intervals"]:
            interval = sources.analysis["intervals"][metric.name]
            low, high = metric.shown(interval["low"]), metric.shown(interval["high"])
            note = "no interval: one conversation" if interval["low"] is None else f"{low} to {high}"
        result.append(Card(metric.title, metric.shown(sources.metrics[metric.name]), note))
    return result


def _insides(sources: Sources, groups: tuple[str, ...]) -> dict[str, Any]:
    """Returns what the section on gates and attention is given."""
    turns, window = sources.turns, sources.config.tokens.window
    gates, fusion, numbers = (means(turns, groups, kind) for kind in ("gates", "fusion", "numbers"))
    attention = attention_summaries(turns, groups, window)
    title = "Gates and attention" if gates else "Attention" if fusion or attention else "Insides" if numbers else ""
    return {
        "gates": gates,
        "fusion": fusion,
        "attention": attention,
        "numbers": numbers,
        "insides_title": title,
        "gate_names": [] if gates is None else [_pair_name(pair, " : ") for pair in gates.columns],
        "fusion_names": [] if fusion is None else [_position_name(position) for position in fusion.columns],
        "window": window,
    }


def _pair_name(pair: str, between: str) -> str:
    return between.join(MODALITIES[letter] for letter in pair)


def _position_name(position: str) -> str:
    return "itself" if position == "e_CLS" else _pair_name(position, " | ")
