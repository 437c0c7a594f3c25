"""Conversations, read once and kept as ArrayRecord files (TensorFlow Datasets, without TensorFlow).

Prepared data lies in ``<cache>/<corpus>/<fingerprint>/``. The fingerprint covers the contents of the source files (or
the generator and settings of the planted conversations) and the reader's version, so that other data is never taken
for it.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from dtrm_jax import config as config_lib
from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data import download
from dtrm_jax.data.readers import iemocap, meld
from dtrm_jax.errors import InputError

# To be raised whenever a reader delivers something else for the same source.
READER_VERSIONS = {"meld": 1, "iemocap": 1, "planted": 1}

_FORMAT_VERSION = "1.0.0"  # of the records
_BUILDER = "conversations"
_UNLABELLED = -1


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
    if config.name == "planted":
        from dtrm_jax.data.readers import planted

        # Their source is the generator itself, so its code counts like the content of a file.
        digest.update(pathlib.Path(planted.__file__).read_bytes())
        digest.update(json.dumps(config_lib.to_dict(config.planted), sort_keys=True).encode())
        return digest.hexdigest(), functools.partial(planted.generate, config.planted)
    reader = {"meld": meld, "iemocap": iemocap}[config.name]
    folder = _source_path(config, cache)
    for path in reader.files(folder):
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
        f"IEMOCAP: {iemocap.FILE} is needed (speakers, labels, sentences and splits, from conv-emotion's "
        f"COSMIC/feature-extraction); name it or its folder with --config.data.source=DIR or ${variable}"
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
            turn = {name: tfds.features.Text() for name in ("id", "speaker", "text")}
            turn["label"] = tfds.features.ClassLabel(names=self._dataset.labels.names)
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"Conversations of {self._dataset.name}.",
                features=tfds.features.FeaturesDict(
                    {"id": tfds.features.Text(), "turns": tfds.features.Sequence(turn)}
                ),
                metadata=tfds.core.MetadataDict(name=self._dataset.name, splits=list(self._dataset.splits)),
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


def _to_record(conversation: Conversation, labels: LabelSpace) -> dict[str, Any]:
    turns = [
        {
            "id": turn.id,
            "speaker": turn.speaker,
            "text": turn.text,
            "label": _UNLABELLED if turn.label is None else labels.index(turn.label),
        }
        for turn in conversation.turns
    ]
    return {"id": conversation.id, "turns": turns}


def _from_record(record: dict[str, Any], labels: LabelSpace) -> Conversation:
    """Returns the conversation of a record, whose texts are UTF-8 bytes and whose turns are lists by feature."""
    turns = record["turns"]
    columns = zip(turns["id"], turns["speaker"], turns["text"], turns["label"], strict=True)
    return Conversation(
        record["id"].decode(),
        tuple(
            Turn(
                id.decode(), speaker.decode(), text.decode(), None if label == _UNLABELLED else labels.names[int(label)]
            )
            for id, speaker, text, label in columns
        ),
    )


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
        labels = LabelSpace(tuple(builder.info.features["turns"]["label"].names))
        splits = {}
        for split in builder.info.metadata["splits"]:
            source = builder.as_data_source(split) if split in builder.info.splits else ()
            splits[split] = tuple(_from_record(record, labels) for record in source)
        return Dataset(builder.info.metadata["name"], labels, splits)
    except Exception as error:  # TFDS and ArrayRecord raise whatever their parsers do
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{records}: prepared data is damaged ({type(error).__name__}: {reason}); delete this folder to prepare it "
            "again"
        ) from None
