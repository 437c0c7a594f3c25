"""Training and evaluation as functions, for use from Python: the commands call them.

``dtrm_jax`` itself offers these names, and imports this module when one of them is first used.
"""

import os
from typing import Any

from dtrm_jax.config import Config, validate
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.models import build_model
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training import loop

__all__ = ["build_model", "evaluate", "train"]


def train(config: Config, workdir: str | os.PathLike[str]) -> RunDirectory:
    """Trains the model that a config describes, or resumes its training; a finished run is left as it is.

    Example:
        >>> import dtrm_jax
        >>> config = dtrm_jax.load_config("demo")
        >>> config.train.epochs, config.data.planted.train = 1, 20  # a first try, in seconds
        >>> run = dtrm_jax.train(config, "runs/first")
        >>> scores = dtrm_jax.evaluate(run, split="dev")
        >>> scores["split"], 0 <= scores["accuracy"] <= 1
        ('dev', True)

    Args:
        config: Every setting of the experiment.
        workdir: The run directory. It is made if it does not exist.

    Returns:
        The run directory, which ``evaluate`` takes.

    Raises:
        InputError: A setting, the data or the pretrained weights are bad, the directory belongs to another run or is
            used by another process, the loss diverged, or the disk is full.
        dtrm_jax.training.loop.Interrupted: Ctrl-C or SIGTERM ended training after a checkpoint. The same call resumes.
    """
    loop.train(validate(config), str(workdir))
    return RunDirectory(workdir)


def evaluate(
    run: RunDirectory | str | os.PathLike[str],
    *,
    split: str = "test",
    checkpoint: str = "best",
    source: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Scores a checkpoint of a run on a split and writes all files of the evaluation, the report included.

    The files are ``metrics.json``, ``predictions.csv``, ``analysis.json`` (for classes) and ``report.html`` in
    ``eval/<split>/`` of the run directory, or in ``eval/<split>@<name>/`` if the data is not what the run was trained
    on. No evaluation replaces one of other data. Nothing but the run directory and the data is needed.

    Example:
        >>> import dtrm_jax
        >>> scores = dtrm_jax.evaluate("runs/first", split="test", checkpoint="latest")
        >>> 0 <= scores["weighted_f1"] <= 1
        True

    Args:
        run: A run directory, or its path.
        split: ``train``, ``dev`` or ``test``.
        checkpoint: ``best`` (by the dev metric), ``latest``, or the number of a step.
        source: The folder of the raw data. If None, it is the one that the run was trained with.
        name: ``<name>``. If None, it is that of the data's folder, where one is needed.

    Returns:
        The content of ``metrics.json``.

    Raises:
        InputError: The directory is not a run, the checkpoint or the split does not exist, the data has other emotions
            than the run was trained on, or other data was evaluated under ``name``.
    """
    directory = run if isinstance(run, RunDirectory) else RunDirectory(run)
    evaluation = evaluate_run(directory, split=split, checkpoint=checkpoint, source=source, name=name)
    write_report(directory, evaluation.folder.name)
    return evaluation.metrics
