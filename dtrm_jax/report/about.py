"""What was measured: the data, the model, the checkpoint and how it was chosen, the seed, and how to repeat it."""

import datetime
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config, to_dict
from dtrm_jax.errors import InputError, chosen
from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.provenance import made_with, trained_with
from dtrm_jax.report.sources import Sources, by_conversation
from dtrm_jax.report.training import Training
from dtrm_jax.run_directory import Manifest
from dtrm_jax.settings import flat
from dtrm_jax.tasks import METRICS

# Settings that describe the machine, not the experiment.
_PLACES = ("data.source", "data.cache")
# strftime's names are those of the reader's language.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def about(sources: Sources, training: Training | None) -> dict[str, str]:
    """Returns what was measured, term by term."""
    config, metrics = sources.config, sources.metrics
    model = chosen(ARCHITECTURES, config.model.architecture, "config.model.architecture")
    conversations = len(by_conversation(sources.turns))
    return {
        "data": f"{metrics['corpus']}, {metrics['split']} split{of_other(metrics)}: {conversations} conversations, "
        f"{len(sources.turns)} turns, {metrics['n']} of them labelled and scored",
        "model": model.describe(config),
        **_history(sources.manifest),
        "checkpoint": _checkpoint(sources, training),
        "seed": str(config.train.seed),
        "causal": causality(model.is_causal(config)),
        "again": _command(sources),
        **trained_with(sources.starts),
        **made_with("evaluated", metrics.get("provenance"), metrics.get("data")),
    }


def when(stamped: Mapping[str, Any], file: Path) -> str:
    """Returns the date and the version of ``evaluation.files.stamp`` in words; files of earlier versions have none.

    Args:
        stamped: The content of a file that has the two.
        file: Its name, for errors.

    Raises:
        InputError: The date is none.
    """
    evaluated = stamped.get("evaluated")
    if evaluated is None:
        return "by an earlier version of dtrm_jax, which kept no date"
    try:
        moment = datetime.datetime.fromisoformat(evaluated).astimezone(datetime.UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{file}: evaluated: expected a date and a time, found {str(evaluated)[:40]!r}") from error
    return f"on {moment.day} {_MONTHS[moment.month - 1]} {moment:%Y at %H:%M} UTC by dtrm_jax {stamped['version']}"


def causality(causal: bool) -> str:
    """Returns what ``causal`` of a model means, in words."""
    if causal:
        return "yes: a turn is judged by itself and by turns before it; no later turn is seen"
    return "no: later turns are seen too"


def of_other(metrics: Mapping[str, Any]) -> str:
    """Returns the name of the data if it is not what the run was trained on, as the end of a phrase; else nothing."""
    source = metrics.get("source")
    return "" if source is None else f" of {source}, which is not the data that the run was trained on"


def settings(config: Config) -> list[tuple[str, str]]:
    """Returns the names and values of all settings except those that describe the machine."""
    values = flat(to_dict(config)).items()
    return [(name, "(empty)" if value == "" else str(value)) for name, value in values if name not in _PLACES]


def _history(manifest: Manifest | None) -> dict[str, str]:
    """Returns whose parameters a run began with, and which further epochs it was given; empty if neither."""
    result: dict[str, str] = {}
    if manifest is None:
        return result
    origin = manifest.init_from
    if origin is not None:
        result["begun with"] = (
            f"the parameters of {origin.name}, trained on {origin.corpus}, step {origin.step} ({origin.params})"
        )
    if manifest.extensions:
        further = "; ".join(
            f"{one.epochs} epochs instead of {one.epochs_before} after step {one.after_step}"
            for one in manifest.extensions
        )
        result["made longer"] = f"{further}; learning rates rose again there"
    return result


def _checkpoint(sources: Sources, training: Training | None) -> str:
    step, checkpoint = sources.metrics["step"], sources.metrics["checkpoint"]
    metric = METRICS[sources.config.train.select_by]
    if checkpoint != "best":
        return f"step {step}, {'the latest' if checkpoint == 'latest' else 'as requested'}, not chosen by any score"
    found = ""
    if training is not None and training.chosen is not None:
        shown = metric.shown(training.chosen)
        found = f" ({metric.title} on dev: {shown})" if sources.config.train.select_last else f" ({shown})"
    return f"step {step}, {sources.config.train.choice}{found}"


def _command(sources: Sources) -> str:
    """Returns the command that repeats the evaluation; the folder as seen from here, or its name alone.

    Of other data than the run's, which lay somewhere, the last part of the place is known.
    """
    here, metrics = Path.cwd(), sources.metrics
    folder = sources.folder.relative_to(here) if sources.folder.is_relative_to(here) else sources.folder.name
    options = {"--checkpoint": folder, "--split": metrics["split"], "--step": metrics["checkpoint"]}
    if metrics.get("source") is not None:
        options["--source"] = f".../{metrics['source']}"
        options["--name"] = sources.results.name.partition("@")[2]
    return shlex.join(["python", "eval.py", *(str(part) for option in options.items() for part in option)])
