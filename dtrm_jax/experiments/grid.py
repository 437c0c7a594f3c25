"""Runs a table's variants under several seeds; finished runs are not run again."""

import copy
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config, validate
from dtrm_jax.errors import InputError, did_you_mean
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.experiments import cost, records
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training import loop


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where run directories, and where the small records of finished runs are kept."""

    runs: Path
    records: Path


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


def row_config(config: Config, variant: Variant) -> Config:
    """Returns the config of a row of a table.

    Args:
        config: What the variant changes. If it takes the last checkpoint, no row stops early, whatever was published.
        variant: The row's.

    Raises:
        InputError: As ``changed``.
    """
    changes = dict(variant.changes)
    if config.train.select_last:
        changes.pop("train.patience", None)
    return changed(config, changes)


def run_config(config: Config, variant: Variant, seed: int) -> Config:
    """Returns the config of one run of a table; raises InputError as ``changed``."""
    return changed(row_config(config, variant), {"train.seed": seed})


def choose(variants: Sequence[Variant], only: Sequence[str]) -> list[Variant]:
    """Returns the variants that are named, or all; raises InputError for an unknown name."""
    names = [variant.name for variant in variants]
    if unknown := [name for name in only if name not in names]:
        nearest = did_you_mean(unknown[0], names)
        raise InputError(f"--only: expected some of {', '.join(names)}, found {', '.join(unknown)}{nearest}")
    return [variant for variant in variants if not only or variant.name in only]


def run_all(
    config: Config,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    folders: Folders,
    *,
    split: str = "test",
) -> None:
    """Runs everything that has no record yet, and says before each run which of how many it is and the time left.

    All variants are run with the first seed, then with the next, so that a table fills evenly. A run that was
    interrupted is resumed.

    Args:
        config: The config that the variants change.
        variants: To run.
        seeds: To run each with.
        folders: Where run directories and records are kept.
        split: What is scored.

    Raises:
        InputError: As ``loop.train``, or an existing record is of other settings.
        Interrupted: A signal ended a training, after a checkpoint.
    """
    wanted = [(variant, seed, run_config(config, variant, seed)) for seed in seeds for variant in variants]
    missing = [one for one in wanted if records.read(folders.records, *one, split=split) is None]
    began = time.monotonic()
    for done, (variant, seed, its_config) in enumerate(missing):
        if records.read(folders.records, variant, seed, its_config, split=split) is not None:
            continue  # another process has run it meanwhile
        number = len(wanted) - len(missing) + done + 1
        left = ""
        if done:
            seconds = (time.monotonic() - began) / done * (len(missing) - done)
            left = f", about {duration(seconds)} left"
        print(f"\nrun {number} of {len(wanted)}: {variant.shown}, seed {seed}{left}")
        directory = RunDirectory(folders.runs / f"{variant.name}-seed{seed}")
        with cost.measured(directory):
            loop.train(its_config, str(directory.path), extend=False)  # which would be another experiment
            evaluate_run(directory, split=split)
        write_report(directory, split)
        records.write(folders.records, variant, seed, directory, split=split)


def duration(seconds: float) -> str:
    """Returns a time as people say it: ``"50 s"``, ``"12 min"`` or ``"3 h 05 min"``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
