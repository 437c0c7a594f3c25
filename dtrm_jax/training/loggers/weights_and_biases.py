"""Weights & Biases.

Account, project and mode are its own to say: ``wandb login``, ``WANDB_PROJECT``, ``WANDB_MODE=offline``.
"""

import os
from typing import Any

import wandb

from dtrm_jax.config import Config, to_dict
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.settings import flat
from dtrm_jax.training.loggers.logger import known_as, measurements, remember

NAME = "wandb"


class WeightsAndBiases:
    """Logs every number under the training's own steps."""

    def __init__(self, run: Any):
        self._run = run

    def write(self, record: dict[str, Any]) -> None:
        """Logs one record; its package sends it from a process of its own."""
        self._run.log(measurements(record), step=record["step"])

    def close(self) -> None:
        """Sends what is waiting, and marks the run as finished."""
        self._run.finish()


def open_logger(run: RunDirectory, config: Config, start: int) -> WeightsAndBiases:
    """Begins a run, with all settings as its config, or goes on with the one that this training has there."""
    opened = wandb.init(
        id=known_as(run, NAME),
        resume="allow",
        name=config.name,
        project=os.environ.get("WANDB_PROJECT", "dtrm_jax"),
        dir=str(run.path),
        config=flat(to_dict(config)),
    )
    remember(run, NAME, opened.id)
    return WeightsAndBiases(opened)
