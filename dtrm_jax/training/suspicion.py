"""Dev scores that are too good to be true: pre-extracted features may come from a model that has seen the labels.

Text vectors are often taken from an encoder that was trained on the corpus, with a dev split that is now drawn from its
training data. Nothing can then be chosen by the dev score.
"""

from collections.abc import Mapping

import numpy as np

from dtrm_jax.training.setup import Experiment

_NEARLY_PERFECT = 0.97
_EARLY = 2  # epochs


def suspicion(experiment: Experiment, scores: Mapping[str, float], epoch: int) -> str:
    """Returns a line if a model that takes features is nearly perfect on dev in its first epochs; else nothing.

    Args:
        experiment: What is trained.
        scores: On dev.
        epoch: From 1.
    """
    modalities, metric = experiment.config.model.feature_modalities, experiment.task.default_metric
    if not modalities or epoch > _EARLY or scores[metric] <= max(_NEARLY_PERFECT, (1 + _commonest(experiment)) / 2):
        return ""
    shown = next(one for one in experiment.task.metrics if one.name == metric)
    return (
        f"look at this: dev {shown.title} of {shown.shown(scores[metric])} in epoch {epoch} is too good to be true; "
        f"the {' or '.join(modalities)} features may come from a model that has seen the labels of these turns, and "
        "then dev chooses nothing"
    )


def _commonest(experiment: Experiment) -> float:
    """Returns the share of dev's most frequent class, which scores about as much by itself; 0 for real values."""
    labels = np.concatenate([example.labels for example in experiment.dev])
    labels = labels[labels >= 0]
    return float(np.bincount(labels).max() / len(labels)) if len(labels) else 0.0
