"""Conversations, read once and kept as ArrayRecord files (TensorFlow Datasets, without TensorFlow).

Prepared data lies in ``<cache>/<corpus>/<fingerprint>/``. The fingerprint covers the contents of the source files (or
the generator and settings of the planted conversations) and the reader's version, so that other data is never taken
for it. Real values and features are kept in single precision.
"""

import contextlib
import functools
import hashlib
import importlib
import io
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dtrm_jax import config as config_lib
from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data import download
from dtrm_jax.errors import InputError

# To be raised whenever a reader delivers something else for the same source.
READER_VERSIONS = {"meld": 2, "iemocap": 2, "avec": 1, "table": 1, "planted": 2}

_NEEDED = {
    "iemocap": "iemocap.pkl (conv-emotion's COSMIC/feature-extraction), or a feature file of IEMOCAP, is",
    "avec": "one or more of AVEC_features_1.pkl to AVEC_features_4.pkl are",
    "table": "tables of conversations (docs/own-data.md) are",
}

_FORMAT_VERSION = "2.0.0"  # of the records
_BUILDER = "conversations"
_UNLABELLED = -1
_FEATURE = "feature_"  # before a feature's name in a record


def load(config: DataConfig) -> Dataset:
    """Returns the configured corpus, from its ArrayRecord files; prepares them first where there are none.

    Args:
        config: ``source`` falls back to ``$DTRM_<NAME>_SOURCE`` and, for MELD, to a download; ``cache`` to
            ``$DTRM_CACHE`` and then to ``~/.cache/dtrm_jax``.

    Raises:
        InputError: The source is missing or malformed, or the cache cannot be written or is damaged.
    """
    cache = pathlib.Path(config.cache or os.environ.get("DTRM_CACHE") or "~/.cache/dtrm_jax").expanduser()
    fingerprint, read = _source(config, cache)
    folder = cache / config.name / fingerprint[:16]
    records = folder / _BUILDER / _FORMAT_VERSION
    # The folder gets this name when it is complete (see _build), so its existence is enough.
    if not records.is_dir():
        _build(read(), folder, records)
    return _read(records)


def _source(config: DataConfig, cache: pathlib.Path) -> tuple[str, Callable[[], Dataset]]:
    """Returns the fingerprint of what the config names, and the reader to be called if it is not prepared yet."""
    digest = hashlib.sha256(f"{config.name} {READER_VERSIONS[config.name]}\n".encode())
    reader = importlib.import_module(f"dtrm_jax.data.readers.{config.name}")
    if config.name == "planted":
        # Their source is the generator itself, so its code counts like the content of a file.
        digest.update(pathlib.Path(reader.__file__).read_bytes())
        digest.update(json.dumps(config_lib.to_dict(config.planted), sort_keys=True).encode())
        return digest.hexdigest(), functools.partial(reader.generate, config.planted)
    folder = _source_path(config, cache)
    for path in reader.files(folder):
        digest.update(path.name.encode() + b"\n")  # names say which split or attribute a file is
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest(), functools.partial(reader.read, folder)


def _source_path(config: DataConfig, cache: pathlib.Path) -> pathlib.Path:
    """Returns where the raw files are."""
    variable = f"DTRM_{config.name.upper()}_SOURCE"
    named = config.source or os.environ.get(variable)
    if named:
        return pathlib.Path(named).expanduser()
    if config.name == "meld":
        return download.download_meld(cache / "downloads" / "meld")
    raise InputError(
        f"{config.name.upper()}: {_NEEDED[config.name]} needed; name the folder with --config.data.source=DIR or "
        f"${variable}"
    )


@functools.cache
def _builder_class() -> type:
    """Returns the TFDS builder's class; in a function because importing TFDS takes long and tests rarely need it."""
    import tensorflow_datasets as tfds

    class Conversations(tfds.core.GeneratorBasedBuilder):
        """One record a conversation."""

        VERSION = tfds.core.Version(_FORMAT_VERSION)
        name = _BUILDER
        url_infos = None  # nothing is downloaded; looking for a list of URLs needs a package that TFDS does not require

        def __init__(self, dataset: Dataset, **kwargs: Any):
            self._dataset = dataset
            super().__init__(file_format=tfds.core.FileFormat.ARRAY_RECORD, **kwargs)

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
        values = [[np.nan if value is None else value for value in turn.values] for turn in conversation.turns]
        record["values"] = np.array(values, np.float32)
    else:
        for turn, row in zip(conversation.turns, turns, strict=True):
            row["label"] = _UNLABELLED if turn.label is None else labels.index(turn.label)
    return record | {_FEATURE + name: matrix for name, matrix in conversation.features.items()}


def _from_record(record: dict[str, Any], labels: LabelSpace | ValueSpace, features: list[str]) -> Conversation:
    """Returns the conversation of a record, whose texts are UTF-8 bytes and whose turns are lists by feature."""
    columns = record["turns"]
    texts = ([text.decode() for text in columns[name]] for name in ("id", "speaker", "text"))
    count = len(columns["id"])
    names: list[str | None] = [None] * count
    values: list[tuple[float | None, ...]] = [()] * count
    if isinstance(labels, ValueSpace):
        values = [tuple(None if np.isnan(value) else float(value) for value in row) for row in record["values"]]
    else:
        names = [None if label == _UNLABELLED else labels.names[int(label)] for label in columns["label"]]
    turns = tuple(Turn(*fields) for fields in zip(*texts, names, values, strict=True))
    return Conversation(record["id"].decode(), turns, {name: record[_FEATURE + name] for name in features})


def _build(dataset: Dataset, folder: pathlib.Path, records: pathlib.Path) -> None:
    """Writes ``dataset`` to ``records``; TFDS writes into a folder of another name and renames it at the end."""
    count = sum(len(conversations) for conversations in dataset.splits.values())
    print(f"preparing {dataset.name.upper()}: {count} conversations", file=sys.stderr)
    try:
        with _quiet_tfds(), tempfile.TemporaryDirectory() as downloads:  # TFDS wants a folder for them; none come
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
        return Dataset(metadata["name"], labels, splits)
    except Exception as error:  # TFDS and ArrayRecord raise whatever their parsers do
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{records}: prepared data is damaged ({type(error).__name__}: {reason}); delete this folder to prepare it "
            "again"
        ) from None
