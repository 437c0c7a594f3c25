"""What was measured: the data, the model, the checkpoint and how it was chosen, the seed, and how to repeat it."""

import shlex
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config, ModelConfig, to_dict
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.evaluation.table import percent
from dtrm_jax.report.sources import Evaluation, by_conversation
from dtrm_jax.report.training import Training, name_of

# Settings that tell of the machine, not of the experiment.
_PLACES = ("data.source", "data.cache")


def about(evaluation: Evaluation, training: Training | None) -> dict[str, str]:
    """Returns what was measured, term by term."""
    config, metrics = evaluation.config, evaluation.metrics
    conversations = len(by_conversation(evaluation.turns))
    return {
        "data": f"{metrics['corpus']}, {metrics['split']} split: {conversations} conversations, "
        f"{len(evaluation.turns)} turns, {metrics['n']} of them labelled and scored",
        "model": _model(evaluation),
        "checkpoint": _checkpoint(evaluation, training),
        "seed": str(config.train.seed),
        "causal": "yes: a turn is judged by itself and by turns before it; no later turn is seen",
        "again": _command(evaluation),
    }


def settings(config: Config) -> list[tuple[str, str]]:
    """Returns the names and values of all settings but those that tell of the machine."""
    flat = _flat(to_dict(config))
    return [(name, "(empty)" if value == "" else str(value)) for name, value in flat.items() if name not in _PLACES]


def _model(evaluation: Evaluation) -> str:
    model = evaluation.config.model
    names = [MODALITIES[letter] for letter in model.modalities]
    branches = ", ".join(f"{name} (context-{getattr(model.context, name)})" for name in names)
    kind = "DialogueTRM-U" if model.modalities == "u" else "DialogueTRM-M" if len(names) == 3 else "DialogueTRM"
    fusion = f"; fusion {model.fusion.kind}" if len(names) > 1 else ""
    return f"{kind}: {branches}{fusion}{_utterances(model)}; context of {evaluation.config.tokens.window} turns"


def _utterances(model: ModelConfig) -> str:
    if "u" not in model.modalities:
        return ""
    if model.utterance == "features":
        return "; utterance vectors from the data"
    return f"; encoder {Path(model.encoder.pretrained).name or 'trained from scratch'}"


def _checkpoint(evaluation: Evaluation, training: Training | None) -> str:
    step, which = evaluation.metrics["step"], evaluation.metrics["checkpoint"]
    metric = evaluation.config.train.select_by
    if which != "best":
        return f"step {step}, {'the latest' if which == 'latest' else 'as asked for'}, not chosen by any score"
    found = ""
    if training is not None and training.chosen is not None:
        found = f" ({training.chosen:.4f})" if metric in ("pearson_r", "mae") else f" ({percent(training.chosen)})"
    return f"step {step}, the best {name_of(metric)} on dev{found}"


def _command(evaluation: Evaluation) -> str:
    """Returns the command that repeats the evaluation; the folder as seen from here, or its name alone."""
    here = Path.cwd()
    folder = evaluation.folder.relative_to(here) if evaluation.folder.is_relative_to(here) else evaluation.folder.name
    step = evaluation.metrics["checkpoint"]
    return shlex.join(
        ["python", "eval.py", "--checkpoint", str(folder), "--split", evaluation.metrics["split"], "--step", str(step)]
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
