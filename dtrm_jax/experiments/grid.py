"""Runs a config under several settings and seeds; what is finished is not run again."""

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtrm_jax.config import Config, validate
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.restored import evaluate_run
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training import loop


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of a table.

    Attributes:
        name: Short, for file names and ``--only``.
        description: What the row shows.
        changes: Setting's path in the config -> value.
    """

    name: str
    description: str
    changes: Mapping[str, Any]


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns a copy of the config with settings changed; raises InputError if one does not exist or fit."""
    result = copy.deepcopy(config)
    for path, value in changes.items():
        *sections, name = path.split(".")
        section = result
        for part in sections:
            section = getattr(section, part)
        if not hasattr(section, name):
            raise InputError(f"config.{path}: unknown setting")
        setattr(section, name, value)
    return validate(result)


def choose(settings: Sequence[Setting], only: Sequence[str]) -> list[Setting]:
    """Returns the settings that are named, or all; raises InputError for an unknown name."""
    names = [setting.name for setting in settings]
    if unknown := [name for name in only if name not in names]:
        raise InputError(f"--only: expected some of {', '.join(names)}, found {', '.join(unknown)}")
    return [setting for setting in settings if not only or setting.name in only]


def run(config: Config, setting: Setting, seed: int, folder: Path) -> dict[str, Any]:
    """Trains and evaluates one run, unless its test metrics are there; an interrupted one is resumed.

    Returns:
        The content of its ``eval/test/metrics.json``.
    """
    config = changed(config, {**setting.changes, "train.seed": seed})
    directory = RunDirectory(folder / f"{setting.name}-seed{seed}")
    done = directory.evaluation("test") / "metrics.json"
    if done.is_file() and directory.read_config() == config:
        return json.loads(done.read_text(encoding="utf-8"))
    print(f"\n{setting.description}, seed {seed}: {directory.path}")
    loop.train(config, str(directory.path))
    return evaluate_run(directory, "test", "best", None)


def mean_and_deviation(values: Sequence[float]) -> str:
    """Returns percentages as ``"71.2 ± 0.4"``; the deviation is that of a sample, where there are two or more."""
    mean = f"{100 * np.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * np.std(values, ddof=1):.1f}"
