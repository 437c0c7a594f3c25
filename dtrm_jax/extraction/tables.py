"""Tables that are given features: read, and written again with them.

A table is copied as it is, byte for byte. Features go into the ``.npz`` file beside it, with those that it had.
"""

import csv
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np

from dtrm_jax import checksums
from dtrm_jax.conversation import Dataset, LabelSpace
from dtrm_jax.data.readers import table, table_rows, table_turns
from dtrm_jax.data.readers.columns import VALUE_PREFIX
from dtrm_jax.data.readers.table import LABELS_FILE
from dtrm_jax.data.readers.table_rows import Table
from dtrm_jax.errors import InputError


def read(source: pathlib.Path, columns: str, modality: str, *, text_needed: bool) -> dict[str, Table]:
    """Reads the table of each split.

    Args:
        source: The folder of the tables, or one file, which is the training table.
        columns: The setting ``data.columns``.
        modality: Of the features that are to be added.
        text_needed: Whether there must be a text where a table has no features.

    Raises:
        InputError: A file is missing or malformed, a turn is there twice, or there are such features already; names the
            file and the row.
    """
    read = {}
    for split, path in table.tables_of(source).items():
        needed = text_needed and not _beside(path).is_file()
        one = table_rows.load(
            path,
            columns,
            one_conversation=True,  # which predicting takes, if not training
            text_needed=needed,
            labels_needed=False,
            setting="columns",  # dtrm-extract's flag
        )
        features = table.features_of(one)
        if modality in features:
            raise InputError(f"{path}: has {modality} features already; leave them out to extract others")
        # Nothing but their texts and names is looked at, and they may have neither texts nor features yet.
        table_turns.conversations(one, None, features or {modality: np.zeros((len(one.rows), 1), np.float32)})
        read[split] = one
    return read


def digests(source: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of every file that ``read`` reads, in hexadecimal, by its name."""
    return {path.name: checksums.digest(path) for path in table.files(source)}


def write(
    tables: Mapping[str, Table],
    folder: pathlib.Path,
    modality: str,
    arrays: Mapping[str, np.ndarray],
    *,
    source: pathlib.Path,
    known: Mapping[str, str],
) -> None:
    """Writes tables with features into a folder, under the names of their splits.

    Args:
        tables: As ``read`` returned them.
        folder: Is empty.
        modality: Of the features.
        arrays: Split -> float32 ``[N, M]``, a row for each row of the table, NaN throughout where there are none.
        source: As ``read`` took it.
        known: The files' ``digests`` when they were read.

    Raises:
        InputError: A file is another one now, whose rows the features may not be of.
    """
    for split, one in tables.items():
        beside = _beside(one.path)
        others = table.arrays_of(beside, one) if beside.is_file() else {}
        shutil.copyfile(one.path, folder / f"{split}{one.path.suffix.lower()}")
        named = [name for name in table.NAMES if name in one.columns]
        names = {name: np.array([row.values[name] for row in one.rows]) for name in named}
        np.savez(folder / f"{split}.npz", **names, **others, **{modality: arrays[split]})
    labels = tables["train"].path.with_name(LABELS_FILE)
    if labels.is_file():
        shutil.copyfile(labels, folder / LABELS_FILE)
    now = digests(source)
    for name in sorted(known.keys() | now.keys()):
        if known.get(name) != now.get(name):
            raise InputError(f"{source}: {name} was changed while its features were extracted; extract them again")


def write_dataset(dataset: Dataset, folder: pathlib.Path, modality: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a corpus as tables, with its own features and others, into a folder.

    Args:
        dataset: The corpus.
        folder: Is empty.
        modality: Of the other features.
        arrays: Split -> float32 ``[N, M]``, a row for each turn.
    """
    labels = dataset.labels
    emotions = ["label"] if isinstance(labels, LabelSpace) else [VALUE_PREFIX + name for name in labels.names]
    for split, conversations in dataset.splits.items():
        if not conversations:
            continue
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("conversation", "turn", "speaker", "text", *emotions))
            for conversation in conversations:
                for turn in conversation.turns:
                    found = (turn.label,) if isinstance(labels, LabelSpace) else turn.values
                    writer.writerow((conversation.id, turn.id, turn.speaker, turn.text, *found))
        own = {
            name: np.concatenate([conversation.features[name] for conversation in conversations])
            for name in dataset.feature_sizes()
        }
        turns = [(conversation.id, turn.id) for conversation in conversations for turn in conversation.turns]
        names = dict(zip(table.NAMES, map(np.array, zip(*turns, strict=True)), strict=True))
        np.savez(folder / f"{split}.npz", **names, **own, **{modality: arrays[split]})
    if isinstance(labels, LabelSpace):
        (folder / LABELS_FILE).write_text("".join(f"{name}\n" for name in labels.names), encoding="utf-8")


def _beside(path: pathlib.Path) -> pathlib.Path:
    """Returns where the features of a table are."""
    return path.with_suffix(".npz")
