"""Makes one table from its name: runs what is missing, and writes what there is."""

from collections.abc import Sequence
from pathlib import Path

from dtrm_jax.config import Config
from dtrm_jax.conversation import MODALITIES, Dataset
from dtrm_jax.data import corpus, protocol
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.errors import InputError
from dtrm_jax.experiments import grid, outcome, rendering, tables, tuning
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.grid import Folders
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.json_file import write_json
from dtrm_jax.replacing import replacing
from dtrm_jax.tasks import task_of
from dtrm_jax.training.setup import with_metric


def run(
    name: str, config: Config, *, seeds: Sequence[int], only: Sequence[str], folders: Folders, tries: Sequence[str] = ()
) -> None:
    """Runs what is missing of a table.

    Args:
        name: One of ``tables.NAMES``.
        config: What its rows change.
        seeds: To run each row with.
        only: Names of the rows to run; all if empty.
        folders: Where run directories and records are kept.
        tries: The rows of the table ``tuning``, as ``tuning.variants`` takes them.

    Raises:
        InputError: The table, or a row of it, cannot be made of this data, a row is unknown, or a run fails.
        Interrupted: A signal ended a training, after a checkpoint; the same call resumes there.
    """
    table = _table(name, config, tries)
    chosen = grid.choose([row.variant for row in table.rows], only)
    _check_rows(table, config, chosen)
    _check_same_conversations(table, config, chosen)
    _say_what_no_row_has(table, config, chosen)
    config = _with_metric(config, protocol.load(grid.run_config(config, chosen[0], 0)))
    grid.run_all(config, chosen, seeds, folders, split=table.split)


def write(name: str, config: Config, *, seeds: Sequence[int], records_folder: Path, tries: Sequence[str] = ()) -> str:
    """Writes ``<table>.md``, ``<table>.csv`` and ``<table>.json`` beside the records.

    Args:
        name: One of ``tables.NAMES``.
        config: What its rows change.
        seeds: To look for.
        records_folder: Where records are kept.
        tries: As for ``run``.

    Returns:
        The Markdown.

    Raises:
        InputError: As ``outcome.collect``, or nothing has been run.
    """
    table = _table(name, config, tries)
    dataset = protocol.load(config)
    _check_dataset(table, dataset)
    config = _with_metric(config, dataset)
    found = outcome.collect(table, config, dataset, seeds, records_folder)
    if not found.run:
        raise InputError(f"{records_folder}: expected the record of a run of {name}, found none")
    write_json(records_folder / f"{name}.json", found.to_json())
    text = rendering.markdown(found)
    for suffix, content in (("md", text), ("csv", rendering.as_csv(found))):
        with replacing(records_folder / f"{name}.{suffix}") as file:
            file.write(content)
    return text


def _check_rows(table: tables.Table, config: Config, chosen: Sequence[Variant]) -> None:
    """Checks, before hours of training, that the data has what every row takes; says which rows can be run if not."""
    configs = {variant.name: grid.run_config(config, variant, 0) for variant in chosen}
    # Rows of the same modalities take the same data.
    by_modalities = {one.model.modalities: one for one in configs.values()}
    problems = {modalities: _problem(table, one) for modalities, one in by_modalities.items()}
    if problem := next(filter(None, problems.values()), ""):
        possible = ",".join(name for name, one in configs.items() if not problems[one.model.modalities])
        raise InputError(f"{table.name}: {problem}" + (f"; --only={possible} runs the other rows" if possible else ""))


def _check_same_conversations(table: tables.Table, config: Config, chosen: Sequence[Variant]) -> None:
    """Checks, before hours of training, that rows which change settings of the data can be compared."""
    of_data = [one for one in chosen if any(path.startswith("data.") for path in one.changes)]
    if not of_data:
        return
    own = fingerprint(protocol.load(config))["conversations"]
    for variant in of_data:
        if fingerprint(protocol.load(grid.run_config(config, variant, 0)))["conversations"] != own:
            raise InputError(
                f"{table.name}: {variant.name}: expected the conversations and splits of the config, found others"
            )


def _say_what_no_row_has(table: tables.Table, config: Config, chosen: Sequence[Variant]) -> None:
    """Says that a model or a fusion that the config chooses is not run, as every row is what it is called."""
    models = [grid.run_config(config, variant, 0).model for variant in chosen]
    joined = [one for one in models if one.architecture == "dialogue_trm" and len(one.modalities) > 1]
    usual, asked = Config().model, config.model
    for name, default, value, run in (
        ("architecture", usual.architecture, asked.architecture, {one.architecture for one in models}),
        ("fusion.kind", usual.fusion.kind, asked.fusion.kind, {one.fusion.kind for one in joined}),
    ):
        if value != default and run and value not in run:
            print(f"{table.name}: no row that is run has config.model.{name}={value}; a row is what it is called")


def _problem(table: tables.Table, config: Config) -> str:
    """Returns why a table cannot be made of the data that a config takes; empty if it can."""
    try:
        _check_dataset(table, protocol.load(config))
    except InputError as error:
        return str(error)
    return ""


def _check_dataset(table: tables.Table, dataset: Dataset) -> None:
    protocol.require_splits(dataset, [table.split])
    task = task_of(dataset.labels)
    if table.columns and not task.analysed:
        raise InputError(f"{table.name}: expected emotions that are classes, {dataset.name} has {task.emotions}")


def _with_metric(config: Config, dataset: Dataset) -> Config:
    """Returns the config with the dev metric named that selects checkpoints, as the records of its runs have it."""
    return with_metric(config, task_of(dataset.labels, config.data.neutral), dataset.name)


def _table(name: str, config: Config, tries: Sequence[str] = ()) -> tables.Table:
    if name == tuning.NAME:
        return tuning.table(tuning.variants(config, tries))
    if tries:
        raise InputError(f"{name}: --try is for the table {tuning.NAME}")
    needs = tables.table(name, config.model.modalities).needs
    if needs and config.data.name not in needs:
        raise InputError(f"{name}: expected config.data.name {' or '.join(needs)}, found {config.data.name}")
    modalities = _modalities(config)
    table = tables.table(name, modalities, config.data.corpus or config.data.name)
    if table.encodes and config.model.utterance == "features":
        raise InputError(
            f"{name}: its rows change what an encoder reads, expected config.model.utterance=encoder, found features"
        )
    if not table.rows:
        raise InputError(f"{name}: has no row for {v.spelled(modalities)}; config.model.modalities chooses others")
    return table


def _modalities(config: Config) -> str:
    """Returns the modalities of a table's full model: those of the config, or the data's where that has text alone."""
    if config.model.modalities != "u":
        return config.model.modalities
    there = corpus.load(config.data).feature_sizes()
    return "".join(letter for letter, name in MODALITIES.items() if letter == "u" or name in there)
