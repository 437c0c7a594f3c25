"""A cache of parsed corpora: conversations are read once and kept as files of TensorFlow Datasets.

They are ArrayRecord files or, where that package does not exist (on Windows), Parquet files. Both give access to any
record, and TensorFlow Datasets needs no TensorFlow for them. Real values and features are kept in single precision.

Prepared data lies in ``<cache>/<corpus>/<fingerprint>/``, Parquet files in ``<fingerprint>-parquet/``. The fingerprint
covers everything that the conversations depend on (``readers.reader.Source``), so that it is never mistaken for other
data.
"""

import contextlib
import functools
import io
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data import readers
from dtrm_jax.errors import InputError

_FORMAT_VERSION = "2.0.0"  # of the records
_BUILDER = "conversations"
_FEATURE = "feature_"  # before a feature's name in a record


def load(config: DataConfig) -> Dataset:
    """Returns the configured corpus from its prepared files, which are written first if they do not exist.

    Args:
        config: ``name`` is one of ``readers.READERS``; ``source`` falls back to ``$DTRM_<NAME>_SOURCE`` and, for MELD,
            to a download; ``cache`` falls back to ``$DTRM_CACHE`` and then to ``~/.cache/dtrm_jax``.

    Raises:
        InputError: There is no such corpus, its source is missing or malformed, or the cache cannot be written or is
            damaged.
    """
    cache = pathlib.Path(config.cache or os.environ.get("DTRM_CACHE") or "~/.cache/dtrm_jax").expanduser()
    source = readers.find(config.name).locate(config, cache)
    folder = cache / config.name / (source.fingerprint[:16] + ("" if _has_array_record() else "-parquet"))
    records = folder / _BUILDER / _FORMAT_VERSION
    # The folder gets this name when it is complete (see _build), so its existence is enough.
    if not records.is_dir():
        _build(source.read(), folder, records)
    return _read(records)


@functools.cache
def _has_array_record() -> bool:
    """Whether ArrayRecord can be used; a package that is there may still lack the library for this system."""
    try:
        from array_record.python import array_record_data_source, array_record_module  # noqa: F401
    except ImportError:
        return False
    return True


@functools.cache
def _builder_class() -> type:
    """Returns the TFDS builder's class; in a function because importing TFDS takes long and is rarely needed."""
    import tensorflow_datasets as tfds

    class Conversations(tfds.core.GeneratorBasedBuilder):
        """One record per conversation."""

        VERSION = tfds.core.Version(_FORMAT_VERSION)
        name = _BUILDER
        url_infos = None  # nothing is downloaded; looking for a list of URLs needs a package that TFDS does not require

        def __init__(self, dataset: Dataset, **kwargs: Any):
            self._dataset = dataset
            formats = tfds.core.FileFormat
            super().__init__(file_format=formats.ARRAY_RECORD if _has_array_record() else formats.PARQUET, **kwargs)

        def _info(self) -> tfds.core.DatasetInfo:
            dataset = self._dataset
            turn = {name: tfds.features.Text() for name in ("id", "speaker", "text")}
            if isinstance(dataset.labels, LabelSpace):
                turn["label"] = tfds.features.ClassLabel(names=dataset.labels.names)
            record = {"id": tfds.features.Text(), "turns": tfds.features.Sequence(turn)}
            if isinstance(dataset.labels, ValueSpace):
                record["values"] = tfds.features.Tensor(shape=(None, len(dataset.labels)), dtype=np.float32)
            for name, size in dataset.feature_sizes().items():
                record[_FEATURE + name] = tfds.features.Tensor(shape=(None, size), dtype=np.float32)
            metadata = {"name": dataset.name, "splits": list(dataset.splits), "features": list(dataset.feature_sizes())}
            metadata["notes"] = list(dataset.notes)
            if isinstance(dataset.labels, ValueSpace):
                metadata["values"] = dataset.labels.names
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"Conversations of {dataset.name}.",
                features=tfds.features.FeaturesDict(record),
                metadata=tfds.core.MetadataDict(metadata),
                disable_shuffling=True,  # the reader's order is part of the data
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            # TFDS takes no empty splits; the metadata remembers them.
            splits = self._dataset.splits.items()
            return {split: self._generate_examples(split) for split, conversations in splits if conversations}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
            for key, conversation in enumerate(self._dataset.splits[split]):
                yield key, _to_record(conversation, self._dataset.labels)

    return Conversations


def _to_record(conversation: Conversation, labels: LabelSpace | ValueSpace) -> dict[str, Any]:
    turns = [{"id": turn.id, "speaker": turn.speaker, "text": turn.text} for turn in conversation.turns]
    record: dict[str, Any] = {"id": conversation.id, "turns": turns}
    if isinstance(labels, ValueSpace):
        record["values"] = labels.of(conversation)
    else:
        for row, label in zip(turns, labels.of(conversation).tolist(), strict=True):
            row["label"] = label
    return record | {_FEATURE + name: matrix for name, matrix in conversation.features.items()}


def _from_record(record: dict[str, Any], labels: LabelSpace | ValueSpace, features: list[str]) -> Conversation:
    """Returns the conversation of a record, whose texts are UTF-8 bytes and whose turns are lists by feature."""
    columns = record["turns"]
    texts = [[text.decode() for text in columns[name]] for name in ("id", "speaker", "text")]
    if isinstance(labels, ValueSpace):
        rows = [tuple(None if np.isnan(value) else float(value) for value in row) for row in record["values"]]
        annotated: list[dict[str, Any]] = [{"values": row} for row in rows]
    else:
        names = [None if label < 0 else labels.names[int(label)] for label in columns["label"]]
        annotated = [{"label": name} for name in names]
    turns = tuple(
        Turn(id=id, speaker=speaker, text=text, **what)
        for id, speaker, text, what in zip(*texts, annotated, strict=True)
    )
    return Conversation(record["id"].decode(), turns, {name: record[_FEATURE + name] for name in features})


def _build(dataset: Dataset, folder: pathlib.Path, records: pathlib.Path) -> None:
    """Writes ``dataset`` to ``records``; TFDS writes into a folder of another name and renames it at the end."""
    count = sum(len(conversations) for conversations in dataset.splits.values())
    print(f"preparing {dataset.name.upper()}: {count} conversations", file=sys.stderr)
    try:
        with _quiet_tfds(), tempfile.TemporaryDirectory() as downloads:  # TFDS needs a download folder; it stays empty
            folder.mkdir(parents=True, exist_ok=True)
            _builder_class()(dataset=dataset, data_dir=folder).download_and_prepare(download_dir=downloads)
    except OSError as error:
        # Another process may have prepared the same data in the meantime; the rename then fails.
        if not records.is_dir():
            raise InputError(
                f"{folder}: prepared data cannot be written ({error}); choose another folder with "
                "--config.data.cache=DIR or $DTRM_CACHE"
            ) from None


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Hides TFDS's progress bars and the announcements that it prints."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _read(records: pathlib.Path) -> Dataset:
    """Reads what `_build` wrote."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(records)
        metadata = builder.info.metadata
        if "values" in metadata:
            labels = ValueSpace(tuple(metadata["values"]))
        else:
            labels = LabelSpace(tuple(builder.info.features["turns"]["label"].names))
        splits = {}
        for split in metadata["splits"]:
            source = builder.as_data_source(split) if split in builder.info.splits else ()
            splits[split] = tuple(_from_record(record, labels, metadata["features"]) for record in source)
        return Dataset(metadata["name"], labels, splits, notes=tuple(metadata.get("notes", ())))
    except Exception as error:  # TFDS and the libraries of its formats raise whatever their parsers do
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{records}: prepared data is damaged ({type(error).__name__}: {reason}); delete this folder to prepare it "
            "again"
        ) from None
