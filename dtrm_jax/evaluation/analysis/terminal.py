"""Analyses as text for the terminal."""

from collections.abc import Sequence
from typing import Any

from dtrm_jax.evaluation.aligned import align, percent
from dtrm_jax.evaluation.analysis.groups import SCORED, SHIFTS_IN_WORDS
from dtrm_jax.tasks import METRICS, Classes, Metric

_SHIFTS = {"all": "all", "intra": "Intra-ES", "inter": "Inter-ES", "neither": "neither"}
_EXPLAINED = "; ".join(f"{_SHIFTS[name]}: {words}" for name, words in SHIFTS_IN_WORDS.items())
_PAIRS = 10  # confusions that are listed


def format_shifts(analysis: dict[str, Any], task: Classes) -> str:
    """Returns the scores of turns with and without emotion shifts, and the interval of the default metric, as text.

    Args:
        analysis: The result of ``analysis.analyse``.
        task: What was predicted.

    Returns:
        Lines of at most 80 columns, without a newline at the end; scores are percentages.
    """
    rows = [["emotion shift", *_titles(), "n", "per conversation"]]
    for name, title in _SHIFTS.items():
        group = analysis["shifts"][name]
        rows.append([title, *_scores(group), str(group["n"]), f"{group['per_conversation']:.1f}"])
    return "\n".join([*align(rows), _EXPLAINED, "", _interval_line(analysis, task.ranked_metrics[0])])


def format_analysis(analysis: dict[str, Any], task: Classes) -> str:
    """Returns all of the result of ``analysis.analyse`` as text; see ``format_shifts``."""
    short, calibration = analysis["short"], analysis["calibration"]
    rows = [["short text", *_titles(), "n"]]
    for title, group in {"(any one word)": short["one_word"], **short["texts"]}.items():
        rows.append([title, *_scores(group), str(group["n"])])
    return "\n".join(
        [
            f"{analysis['n']} labelled turns of {analysis['conversations']} conversations",
            "",
            format_shifts(analysis, task),
            *(_interval_line(analysis, metric) for metric in task.ranked_metrics[1:]),
            "",
            *align(rows),
            "",
            f"expected calibration error {percent(calibration['expected_calibration_error'])}, "
            f"negative log-likelihood {calibration['negative_log_likelihood']:.4f}",
            "",
            *_reliability(calibration["bins"]),
        ]
    )


def format_comparison(comparison: dict[str, Any], task: Classes) -> str:
    """Returns the result of ``analysis.compare`` as text; the predictions are called A and B. See ``format_shifts``."""
    return "\n\n".join(
        "\n".join(lines)
        for lines in (
            _differences(comparison["differences"], task),
            _both_shifts(comparison["shifts"]["first"], comparison["shifts"]["second"]),
            *_cases(comparison["cases"]),
        )
    )


def _titles() -> list[str]:
    return [METRICS[name].title for name in SCORED]


def _scores(group: dict[str, Any]) -> list[str]:
    return [METRICS[name].shown(group[name]) for name in SCORED]


def _interval_line(analysis: dict[str, Any], metric: Metric) -> str:
    interval = analysis["intervals"][metric.name]
    value = metric.shown(interval["value"])
    return f"{metric.title} {value}, {_level(analysis['intervals'])} {_range(interval, metric)}"


def _level(drawn: dict[str, Any]) -> str:
    return f"{100 * drawn['level']:g} % interval over conversations"


def _range(interval: dict[str, Any], metric: Metric, sign: str = "") -> str:
    low, high = interval["low"], interval["high"]
    return "-" if low is None else f"{metric.shown(low, sign)} to {metric.shown(high, sign)}"


def _reliability(bins: Sequence[dict[str, Any]]) -> list[str]:
    rows = [["confidence", "mean", "accuracy", "n"]]
    for one in bins:
        if one["n"]:
            span = f"{percent(one['low'])} to {percent(one['high'])}"
            rows.append([span, percent(one["confidence"]), percent(one["accuracy"]), str(one["n"])])
    return align(rows)


def _differences(differences: dict[str, Any], task: Classes) -> list[str]:
    rows = [["B - A", "difference", _level(differences), "p"]]
    for metric in task.ranked_metrics:
        one = differences[metric.name]
        p = "-" if one["p_value"] is None else f"{one['p_value']:.4f}"
        rows.append([metric.title, metric.shown(one["difference"], "+"), _range(one, metric, "+"), p])
    return align(rows)


def _both_shifts(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    titles = [cell for title in _titles() for cell in (f"{title} A", "B")]
    rows = [["emotion shift", *titles, "n", "per conversation"]]
    for name, title in _SHIFTS.items():
        pairs = zip(_scores(first[name]), _scores(second[name]), strict=True)
        counts = str(first[name]["n"]), f"{first[name]['per_conversation']:.1f}"
        rows.append([title, *(score for pair in pairs for score in pair), *counts])
    return [*align(rows), _EXPLAINED]


def _cases(cases: dict[str, Any]) -> list[list[str]]:
    titles = {"rectified": "A wrong, B right", "spoiled": "A right, B wrong"}
    return [_confusions(cases["labels"], cases[name], title) for name, title in titles.items()]


def _confusions(labels: Sequence[str], cases: dict[str, Any], title: str) -> list[str]:
    """Returns the most frequent confusions that one of the predictions avoids."""
    cells = [(count, true, taken) for true, row in enumerate(cases["counts"]) for taken, count in enumerate(row)]
    most = sorted((cell for cell in cells if cell[0]), key=lambda cell: -cell[0])[:_PAIRS]
    rows = [[title, str(cases["n"])]]
    return align(rows + [[f"  {labels[true]} taken for {labels[taken]}", str(count)] for count, true, taken in most])
