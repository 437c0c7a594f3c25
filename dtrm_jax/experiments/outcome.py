"""A table's outcome: every seed's scores, the paper's numbers, and differences with their significance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtrm_jax.config import Config
from dtrm_jax.conversation import Dataset, LabelSpace
from dtrm_jax.data import corpus, readers
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.experiments import grid, records
from dtrm_jax.experiments.records import Record
from dtrm_jax.experiments.tables import Row, Table, value_columns
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.planted import Information, optimal_accuracy

Outcome = dict[str, Any]


def collect(table: Table, config: Config, dataset: Dataset, seeds: Sequence[int], kept: Path) -> Outcome:
    """Puts together what has been run of a table.

    Args:
        table: Which.
        config: What its variants change.
        dataset: The corpus.
        seeds: To look for.
        kept: Folder of the records.

    Returns:
        Plain JSON types: what the table is, what it was made with, its ``columns``, and ``rows``, those without a run
        included, each with its ``seeds``, ``scores`` (column path -> one a seed), ``f1_by_class``, ``dev``, ``paper``,
        ``difference`` from the reference (``bootstrap.mean_differences`` of the metric that selects checkpoints),
        ``best_test_epoch`` and ``optimum``, the last four None where there is none; ``shifts``: how many turns a
        conversation have an emotion shift, None if nothing was run.

    Raises:
        InputError: A record is not one, or of another run or other data.
    """
    runs = {row.variant: _runs(row, config, seeds, kept) for row in table.rows}
    _check_data(runs, dataset, kept)
    reference = next((variant for variant in table.references if runs.get(variant)), None)
    metric = config.train.select_by
    columns = table.columns if isinstance(dataset.labels, LabelSpace) else value_columns(dataset.labels.names)
    differences = {} if reference is None else _differences(runs, reference, dataset, metric, kept)
    rows = []
    for row in table.rows:
        found = list(runs[row.variant].values())
        peeked = [record["best_test_epoch"][metric] for record in found if "best_test_epoch" in record]
        rows.append(
            {
                "variant": row.variant.name,
                "shown": row.shown,
                "seeds": list(runs[row.variant]),
                "scores": {column.path: [_score(record, column.path) for record in found] for column in columns},
                "f1_by_class": _by_class(found),
                "dev": [record["dev"][metric] for record in found],
                "paper": row.paper.get(dataset.name.lower()),
                "difference": differences.get(row.variant),
                "best_test_epoch": peeked if found and len(peeked) == len(found) else None,
                "optimum": _optimum(config, row) if readers.find(config.data.name).knows_optimum else None,
            }
        )
    test = dataset.splits["test"]
    return {
        "table": table.name,
        "title": table.title,
        "corpus": dataset.name,
        "encoder": _encoder(config),
        "conversations": len(test),
        "turns": sum(map(len, test)),
        "select_by": metric,
        "reference": reference.name if reference is not None else None,
        "columns": [{"path": one.path, "title": one.title} for one in columns],
        "rows": rows,
        "shifts": _shift_counts([record for found in runs.values() for record in found.values()]),
        "config": records.settings_of(config),
    }


def _check_data(runs: dict[Variant, dict[int, Record]], dataset: Dataset, kept: Path) -> None:
    """Checks that all runs had these conversations, and the same features where they had them."""
    known = {"conversations": fingerprint(dataset)["conversations"]}
    for variant, by_seed in runs.items():
        for seed, record in by_seed.items():
            for name, digest in record.get("data", {}).items():
                if known.setdefault(name, digest) != digest:
                    what = name if name == "conversations" else f"{name} features"
                    file = records.file_of(kept, variant, seed)
                    raise InputError(f"{file}: trained on other {what} than the rest of this table")


def _encoder(config: Config) -> str:
    """Says what an utterance is read by."""
    if not config.model.reads_text:
        return "text as features" if "u" in config.model.modalities else "no text"
    return config.model.encoder.pretrained or "an encoder from scratch"


def _shift_counts(found: Sequence[Record]) -> dict[str, float] | None:
    shifts = next((record["shifts"] for record in found if "shifts" in record), None)
    return shifts and {group: shifts[group]["per_conversation"] for group in ("intra", "inter")}


def _runs(row: Row, config: Config, seeds: Sequence[int], kept: Path) -> dict[int, Record]:
    found = {}
    for seed in seeds:
        its_config = grid.run_config(config, row.variant, seed)
        if (record := records.read(kept, row.variant, seed, its_config)) is not None:
            found[seed] = record
    return found


def _differences(
    runs: dict[Variant, dict[int, Record]], reference: Variant, dataset: Dataset, metric: str, kept: Path
) -> dict[Variant, dict[str, float | None]]:
    """Returns each other variant's difference from the reference, by a paired bootstrap over conversations."""
    test, labels = dataset.splits["test"], dataset.labels
    others = [variant for variant, by_seed in runs.items() if by_seed and variant != reference]

    def files(variant: Variant) -> list[tuple[Record, Path]]:
        return [(record, records.file_of(kept, variant, seed)) for seed, record in runs[variant].items()]

    if isinstance(labels, LabelSpace):
        turns = {
            variant: [records.predicted_turns(record, test, labels, file) for record, file in files(variant)]
            for variant in (reference, *others)
        }
        return {
            variant: bootstrap.mean_differences(turns[reference], turns[variant], labels)[metric] for variant in others
        }
    conversation_N = np.repeat(np.arange(len(test)), [len(conversation) for conversation in test])
    values_NxV = np.array([turn.values for conversation in test for turn in conversation.turns], np.float64)
    values = {
        variant: np.stack([records.predicted_values(record, test, file) for record, file in files(variant)])
        for variant in (reference, *others)
    }
    return {
        variant: bootstrap.mean_differences_of_values(conversation_N, values_NxV, values[reference], values[variant])[
            metric
        ]
        for variant in others
    }


def _by_class(found: Sequence[Record]) -> dict[str, list[float]]:
    """Returns class -> F1, one a run."""
    classes = found[0]["test"].get("per_class", {}) if found else {}
    return {name: [record["test"]["per_class"][name]["f1"] for record in found] for name in classes}


def _score(record: Record, path: str) -> float | None:
    value: Any = record
    for part in path.split("."):
        value = value[part]
    return value


def _optimum(config: Config, row: Row) -> float:
    """Returns the best possible accuracy on planted conversations for all that a row's model may know."""
    model = grid.changed(config, row.variant.changes).model
    context = {"u": model.context.utterance, "a": model.context.acoustic, "v": model.context.visual}
    remembered = "".join(letter for letter in model.modalities if context[letter] == "dependent")
    if len(model.modalities) > 1 and model.fusion.kind == "mult":
        remembered = model.modalities
    information = Information(model.modalities, remembered)
    test = corpus.load(config.data).splits["test"]  # with all features, whatever the model takes
    return optimal_accuracy(test, config.data.planted, information).accuracy
