"""Metrics as a table for the terminal."""

from collections.abc import Sequence
from typing import Any

WIDTH = 80  # columns of a terminal, which no line exceeds
_GAP = "  "


def format_metrics(metrics: dict[str, Any]) -> str:
    """Returns the scores of a split as text: a line of headline scores, then a line for every class or target.

    Scores of classes are printed as percentages with two decimals, everything else as it is.

    Args:
        metrics: The result of ``classification_metrics`` or ``value_metrics``.

    Returns:
        Lines of at most 80 columns, without a newline at the end; class names that are too long are shortened.
    """
    return _value_table(metrics) if "per_target" in metrics else _class_table(metrics)


def _class_table(metrics: dict[str, Any]) -> str:
    headline = {
        "accuracy": percent(metrics["accuracy"]),
        "weighted F1": percent(metrics["weighted_f1"]),
        "macro F1": percent(metrics["macro_f1"]),
        **({"loss": f"{metrics['loss']:.4f}"} if "loss" in metrics else {}),
        "n": str(metrics["n"]),
    }
    classes = [
        [name, *(percent(scores[key]) for key in ("precision", "recall", "f1")), str(scores["support"])]
        for name, scores in metrics["per_class"].items()
    ]
    per_class = [["class", "precision", "recall", "F1", "support"], *classes]
    return "\n".join([*align([list(headline), list(headline.values())], names=False), "", *align(per_class)])


def _value_table(metrics: dict[str, Any]) -> str:
    numbers = [f"{metrics[name]:.4f}" for name in ("pearson_r", "mae", "loss")]
    rows = [["target", "Pearson r", "MAE", "n", ""]]
    for name, scores in metrics["per_target"].items():
        cells = ["-" if scores[key] is None else f"{scores[key]:.4f}" for key in ("pearson_r", "mae")]
        rows.append([name, *cells, str(scores["n"]), f"constant {scores['constant']}" if scores["constant"] else ""])
    headline = [["Pearson r", "MAE", "loss", "n"], [*numbers, str(metrics["n"])]]
    return "\n".join([*align(headline, names=False), "", *align(rows)])


def percent(fraction: float) -> str:
    """Returns a score in percent, with two decimals."""
    return f"{100 * fraction:.2f}"


def align(rows: Sequence[Sequence[str]], names: bool = True) -> list[str]:
    """Returns the rows with their columns aligned on the right, the first one, if it holds names, on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if names:
        widths[0] = min(widths[0], WIDTH - sum(len(_GAP) + width for width in widths[1:]))
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        if names:
            cells[0] = _shorten(row[0], widths[0]).ljust(widths[0])
        lines.append(_GAP.join(cells))
    return lines


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
