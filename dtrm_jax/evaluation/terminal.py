"""An evaluation as text for the terminal."""

from collections.abc import Mapping
from typing import Any

from dtrm_jax.evaluation.aligned import align
from dtrm_jax.evaluation.analysis.terminal import format_shifts
from dtrm_jax.evaluation.run import Evaluation
from dtrm_jax.models.interface import NOT_CAUSAL
from dtrm_jax.tasks import Task


def format_evaluation(evaluation: Evaluation) -> str:
    """Returns a title, the scores and, if it was analysed, those of turns with an emotion shift."""
    metrics, analysis = evaluation.metrics, evaluation.analysis
    about = f"{metrics['corpus']} {metrics['split']}, checkpoint of step {metrics['step']} ({metrics['checkpoint']})"
    if metrics["source"] is not None:
        about += f"\ndata of {metrics['source']}, which is not what the run was trained on"
    if not metrics["causal"]:
        about += f"\n{NOT_CAUSAL}"
    parts = [about, format_metrics(metrics, evaluation.task)]
    if analysis is not None:
        parts.append(format_shifts(analysis, evaluation.task))
    return "\n\n".join(parts)


def format_metrics(metrics: Mapping[str, Any], task: Task) -> str:
    """Returns the scores of a split as text: a line of headline scores, then a line for every class or target.

    Args:
        metrics: The content of ``metrics.json``; metrics that it lacks are left out.
        task: What was predicted.

    Returns:
        Lines of at most 80 columns, without a newline at the end; class names that are too long are shortened.
    """
    headline = {metric.title: metric.shown(metrics[metric.name]) for metric in task.metrics if metric.name in metrics}
    if "loss" in metrics:
        headline["loss"] = f"{metrics['loss']:.4f}"
    headline["n"] = str(metrics["n"])
    breakdown = task.breakdown(metrics)
    rows = [breakdown.columns, *breakdown.rows]
    return "\n".join([*align([list(headline), list(headline.values())], names=False), "", *align(rows)])
