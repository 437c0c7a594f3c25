"""What a model is, and what it takes, for people and programs."""

from typing import Any

from dtrm_jax import __version__
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.models import architecture
from dtrm_jax.report.about import causality


def facts_of(predictor: Predictor) -> dict[str, Any]:
    """Returns the facts of a model, which can be written as JSON."""
    trained = predictor.trained
    return {
        "name": trained.name,
        "describes": architecture(trained.config).describe(trained.config),
        "corpus": trained.manifest.corpus,
        "step": trained.step,
        "emotions": list(predictor.labels),
        "kind": trained.task.kind,
        "reads_text": trained.config.model.reads_text,
        "features": dict(trained.normalization.sizes),
        "window": trained.config.tokens.window,
        "causal": trained.is_causal,
        "causality": causality(trained.is_causal),
        "sessions": predictor.streams,
        "version": __version__,
    }
