"""A table's outcome: every seed's scores, the paper's numbers, and differences with their significance."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtrm_jax.config import Config
from dtrm_jax.conversation import Dataset
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.groups import STUDIED
from dtrm_jax.experiments import grid, published, records, rectified
from dtrm_jax.experiments.layout import Column, Row, Table
from dtrm_jax.experiments.optimum import optimum
from dtrm_jax.experiments.records import Record
from dtrm_jax.experiments.tables import columns_of
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.models import architecture
from dtrm_jax.settings import flat
from dtrm_jax.tasks import task_of

Runs = Mapping[Variant, Mapping[int, Record]]  # by seed

NOT_CAUSAL = "not causal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowOutcome:
    """A row of a table, whether it was run or not.

    Attributes:
        variant: Name of what is run.
        shown: What this table calls it.
        seeds: Those that were run.
        scores: Column path -> one score per seed.
        f1_by_class: Class -> one F1 per seed; empty for real values.
        dev: One dev score per seed, of the metric that selects checkpoints.
        paper: Column path -> the paper's number; None if the paper has none of this corpus, or other classes of it or
            another test split.
        difference: From the reference (``bootstrap.mean_differences``); None if there is none.
        best_test_epoch: One score per seed if the test split had chosen the epoch; None if that was not logged.
        optimum: The best possible accuracy; None unless the conversations are planted and only the past is seen.
        causal: Whether no turn sees a later one.
        epochs: Of training, at most.
        paper_modalities: What the paper's row takes, if the paper has the row with other modalities; else empty.
        changes: Of the config, where the user chose them (``Table.chosen``): path of a setting -> value; else None.
    """

    variant: str
    shown: str
    seeds: list[int]
    scores: Mapping[str, list[float | None]]
    f1_by_class: Mapping[str, list[float]]
    dev: list[float]
    paper: Mapping[str, float] | None
    difference: Mapping[str, float | None] | None
    best_test_epoch: list[float] | None
    optimum: float | None
    causal: bool = True  # as in the tables of version 0.2.0, whose files do not say it
    epochs: int | None = None  # not in older files, whose rows have the config's
    paper_modalities: str = ""
    changes: Mapping[str, Any] | None = None

    @property
    def marked(self) -> str:
        """What tables and plots call it, and that it sees the future where it does."""
        return self.shown if self.causal else f"{self.shown} ({NOT_CAUSAL})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The summary of a table's records.

    Attributes:
        table: The table's name.
        title: What it shows.
        corpus: Name of the dataset.
        encoder: What reads an utterance.
        conversations: In the split that is scored.
        turns: In the split that is scored.
        scored: Those of them that are, as they have a label; None in older files.
        studied: Those of them whose text is ``groups.STUDIED``; None in older files, and where texts are not scored.
        select_by: The dev metric that selects checkpoints.
        reference: Name of the variant that the others are compared with; None if none was run.
        columns: The scores.
        rows: In order.
        shifts: How many turns per conversation have each kind of emotion shift; None if no record says.
        config: What the variants change, without the folders of one machine, as the table's file has it.
        rectified: The turns that other modalities rectify (``rectified``); None in most tables.
        costs: What each run cost, as far as it was measured.
        split: What is scored: test or dev.
        over_seeds: Whether the differences resample the seeds of rows that have several; not in older files.
    """

    table: str
    title: str
    corpus: str
    encoder: str
    conversations: int
    turns: int
    select_by: str
    reference: str | None
    columns: list[Column]
    rows: list[RowOutcome]
    shifts: Mapping[str, float] | None
    config: Mapping[str, Any]
    rectified: Mapping[str, Any] | None = None
    costs: Sequence[Mapping[str, Any]] = ()
    scored: int | None = None
    studied: int | None = None
    split: str = "test"
    over_seeds: bool = False

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """``config`` with the settings that did not exist yet when the table was made (``records.completed``)."""
        return records.completed(self.config)

    @property
    def name(self) -> str:
        """The corpus, for people; of one's own tables what they say to be of, or else the experiment's name."""
        of_tables = self.settings["data"]["corpus"] or self.settings["name"]
        return (of_tables if self.corpus == "table" else self.corpus).upper()

    @property
    def paper_corpus(self) -> str:
        """The corpus of the paper whose numbers may stand beside the rows (``published``); empty if none may."""
        return published.as_published(
            self.corpus,
            self.settings["data"],
            classes=max((len(row.f1_by_class) for row in self.run), default=0),
            conversations=self.conversations,
            turns=self.turns if self.scored is None else self.scored,
        )

    @property
    def run(self) -> list[RowOutcome]:
        """The rows that have a run."""
        return [row for row in self.rows if row.seeds]

    @property
    def tries(self) -> dict[str, Mapping[str, Any]]:
        """The changes that the user chose, by the names of their rows; empty in the tables of fixed rows."""
        return {row.variant: row.changes for row in self.rows if row.changes}

    def to_json(self) -> dict[str, Any]:
        """Returns the content of the table's JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Outcome":
        """Inverts ``to_json``; raises TypeError or KeyError if a field is missing or unknown."""
        columns = [Column(**column) for column in values["columns"]]
        rows = [RowOutcome(**row) for row in values["rows"]]
        return cls(**{**values, "columns": columns, "rows": rows})


def collect(table: Table, config: Config, dataset: Dataset, seeds: Sequence[int], records_folder: Path) -> Outcome:
    """Puts together what has been run of a table.

    Args:
        table: Which.
        config: What its variants change.
        dataset: The corpus.
        seeds: To look for.
        records_folder: Where the records are.

    Raises:
        InputError: A record is not one, or of another run or other data.
    """
    runs = {row.variant: _runs(row, config, seeds, records_folder, table.split) for row in table.rows}
    _check_data(runs, dataset, records_folder)
    reference = next((variant for variant in table.references if runs.get(variant)), None)
    differences = {} if reference is None else _differences(table, runs, reference, dataset, config, records_folder)
    columns, scored = (
        columns_of(table, task_of(dataset.labels, config.data.neutral), config.train.select_by),
        dataset.splits[table.split],
    )
    found = [record for by_seed in runs.values() for record in by_seed.values()]
    made = Outcome(
        table=table.name,
        title=table.title,
        corpus=dataset.name,
        encoder=_encoder(config),
        conversations=len(scored),
        turns=sum(map(len, scored)),
        scored=next((record.scores["n"] for record in found), None),
        studied=next((record.short["texts"][STUDIED]["n"] for record in found if record.short is not None), None),
        select_by=config.train.select_by,
        reference=None if reference is None else reference.name,
        columns=list(columns),
        rows=[
            dataclasses.replace(
                _row(row, runs[row.variant], columns, grid.row_config(config, row.variant), table),
                difference=differences.get(row.variant),
            )
            for row in table.rows
        ],
        shifts=_shift_counts(found),
        config=records.settings_of(config),
        rectified=_rectified(table, runs, dataset, config, records_folder),
        costs=[record.cost for record in found if record.cost is not None],
        split=table.split,
        over_seeds=True,
    )
    return _beside_the_paper(made, table)


def _row(
    row: Row, by_seed: Mapping[int, Record], columns: Sequence[Column], config: Config, table: Table
) -> RowOutcome:
    """Returns what a row's own records and its config say."""
    select_by = config.train.select_by
    found = list(by_seed.values())
    peeked = [record.best_test_epoch[select_by] for record in found if record.best_test_epoch is not None]
    return RowOutcome(
        variant=row.variant.name,
        shown=row.shown,
        seeds=list(by_seed),
        scores={column.path: [record.score(column.path) for record in found] for column in columns},
        f1_by_class=_by_class(found),
        dev=[record.dev[select_by] for record in found],
        paper=None,
        difference=None,
        best_test_epoch=peeked if found and len(peeked) == len(found) else None,
        optimum=optimum(config) if table.split == "test" else None,
        causal=architecture(config).is_causal(config),
        epochs=config.train.epochs,
        changes=_changes(row.variant, config) if table.chosen else None,
    )


def _changes(variant: Variant, config: Config) -> dict[str, Any]:
    """Returns the changes of a row's config, without the folders of one machine."""
    settings = flat(records.settings_of(config))
    return {path: settings[path] for path in variant.changes}


def _beside_the_paper(outcome: Outcome, table: Table) -> Outcome:
    """Returns an outcome with the paper's numbers beside the rows, where they are of the same classes and split."""
    corpus = outcome.paper_corpus
    rows = [
        dataclasses.replace(found, paper=row.paper.get(corpus), paper_modalities=_paper_modalities(row, corpus))
        for row, found in zip(table.rows, outcome.rows, strict=True)
    ]
    return dataclasses.replace(outcome, rows=rows)


def _paper_modalities(row: Row, corpus: str) -> str:
    if not row.paper.get(corpus):
        return ""
    modalities = row.paper_modalities.get(corpus, "")
    return "" if modalities == row.variant.changes["model.modalities"] else modalities


def _check_data(runs: Runs, dataset: Dataset, records_folder: Path) -> None:
    """Checks that all runs had these conversations, and the same features where they had them."""
    known = {"conversations": fingerprint(dataset)["conversations"]}
    for variant, by_seed in runs.items():
        for seed, record in by_seed.items():
            for name, digest in record.data.items():
                if known.setdefault(name, digest) != digest:
                    what = name if name == "conversations" else f"{name} features"
                    file = records.file_of(records_folder, variant, seed)
                    raise InputError(f"{file}: trained on other {what} than the rest of this table")


def _encoder(config: Config) -> str:
    """Names the encoder."""
    if not config.model.reads_text:
        return "text as features" if "u" in config.model.modalities else "no text"
    return config.model.encoder.pretrained or "an encoder from scratch"


def _shift_counts(found: Sequence[Record]) -> dict[str, float] | None:
    shifts = next((record.shifts for record in found if record.shifts is not None), None)
    return shifts and {group: shifts[group]["per_conversation"] for group in ("intra", "inter")}


def _runs(row: Row, config: Config, seeds: Sequence[int], records_folder: Path, split: str) -> dict[int, Record]:
    found = {}
    for seed in seeds:
        its_config = grid.run_config(config, row.variant, seed)
        if (record := records.read(records_folder, row.variant, seed, its_config, split=split)) is not None:
            found[seed] = record
    return found


def _differences(
    table: Table, runs: Runs, reference: Variant, dataset: Dataset, config: Config, records_folder: Path
) -> dict[Variant, dict[str, float | None]]:
    """Returns each other variant's difference from the reference, by a bootstrap over conversations and seeds."""
    scored, task = dataset.splits[table.split], task_of(dataset.labels, config.data.neutral)
    conversation_N, annotated_N = records.annotations_of(scored, task)

    def statistics(variant: Variant) -> np.ndarray:
        files = [(record, records.file_of(records_folder, variant, seed)) for seed, record in runs[variant].items()]
        predicted_PrxN = np.stack([records.predictions_of(record, scored, file) for record, file in files])
        return task.statistics(conversation_N, annotated_N, predicted_PrxN)

    first_JxPr = statistics(reference)
    result = {}
    for variant, by_seed in runs.items():
        if by_seed and variant != reference:
            both_JxPr = np.concatenate([first_JxPr, statistics(variant)], axis=1)
            result[variant] = bootstrap.mean_differences(both_JxPr, first_JxPr.shape[1], task)[config.train.select_by]
    return result


def _rectified(
    table: Table, runs: Runs, dataset: Dataset, config: Config, records_folder: Path
) -> dict[str, Any] | None:
    """Returns ``rectified.between`` the two models of a table that asks for it, where both were run."""
    first, second = table.rectified or (None, None)
    if not (runs.get(first) and runs.get(second)):
        return None
    test, task = dataset.splits["test"], task_of(dataset.labels, config.data.neutral)
    _, annotated_N = records.annotations_of(test, task)
    first_SxN, second_SxN = (
        {
            seed: records.predictions_of(record, test, records.file_of(records_folder, variant, seed))
            for seed, record in runs[variant].items()
        }
        for variant in (first, second)
    )
    return rectified.between(first_SxN, second_SxN, annotated_N, task.labels.names)


def _by_class(found: Sequence[Record]) -> dict[str, list[float]]:
    """Returns class -> F1, one per run."""
    classes = found[0].scores.get("per_class", {}) if found else {}
    return {name: [record.scores["per_class"][name]["f1"] for record in found] for name in classes}
