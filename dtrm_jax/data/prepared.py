"""Prepared data: a corpus as files of TensorFlow Datasets, with a manifest that says what they must be.

They are ArrayRecord files or, where that package does not exist (on Windows), Parquet files. Both give access to any
record, and TensorFlow Datasets needs no TensorFlow for them. Real values and features are kept in single precision.

The records hold numbers and UTF-8 texts. What gives them their meaning, the names of emotions and features and the
splits, is in ``manifest.json``, with the checksum of every file and its own. Nothing is used that has changed since it
was written.
"""

import contextlib
import functools
import hashlib
import io
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

from dtrm_jax import checksums, interruption
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.errors import printable
from dtrm_jax.json_file import read_json, write_json
from dtrm_jax.tasks import TASKS, task_of

VERSION = "3.0.0"  # of the records and of the manifest
MANIFEST = "manifest.json"

_BUILDER = "conversations"
_FEATURE = "feature_"  # before a feature's name in a record


class Damaged(Exception):
    """Prepared data is not what was written; the message is one line that says why."""


def records_in(folder: pathlib.Path) -> pathlib.Path:
    """Returns where in a folder the files of this version are; it exists if, and only if, they are complete."""
    return folder / _BUILDER / VERSION


@functools.cache
def has_array_record() -> bool:
    """Whether ArrayRecord can be used; a package that is there may still lack the library for this system."""
    try:
        from array_record.python import array_record_data_source, array_record_module  # noqa: F401
    except ImportError:
        return False
    return True


def write(dataset: Dataset, records: pathlib.Path) -> None:
    """Writes a corpus; ``records`` appears when it is complete.

    Args:
        dataset: The corpus.
        records: As ``records_in`` returns it. If another process has written it in the meantime, its files stay.

    Raises:
        OSError: The folder cannot be written.
    """
    records.parent.mkdir(parents=True, exist_ok=True)
    unfinished = records.parents[1] / f"{uuid.uuid4().hex}.tmp"
    try:
        with interruption.unfinished(lambda: [unfinished]), _quiet_tfds():
            # TFDS needs a download folder, which stays empty.
            downloads = unfinished / "downloads"
            _builder_class()(dataset=dataset, data_dir=unfinished).download_and_prepare(download_dir=downloads)
        _write_manifest(records_in(unfinished), _facts(dataset))
        try:
            os.rename(records_in(unfinished), records)
        except OSError:
            if not records.is_dir():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def discard(records: pathlib.Path) -> None:
    """Deletes prepared data at once: no other process can find half of it.

    Raises:
        OSError: It cannot be deleted.
    """
    unwanted = records.parents[1] / f"{uuid.uuid4().hex}.tmp"
    with interruption.unfinished(lambda: [unwanted]):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(records, unwanted)
        shutil.rmtree(unwanted, ignore_errors=True)


def read(records: pathlib.Path) -> Dataset:
    """Reads what `write` wrote.

    Raises:
        Damaged: It is not what was written.
    """
    facts = _checked_facts(records)
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(records)
        kind = "classes" if facts["kind"] == "labels" else facts["kind"]  # as classes were called before
        labels = TASKS[kind].space(tuple(facts["names"]))
        splits = {}
        for split in facts["splits"]:
            source = builder.as_data_source(split) if split in builder.info.splits else ()
            splits[split] = tuple(_from_record(record, labels, facts["features"]) for record in source)
        return Dataset(facts["corpus"], labels, splits, notes=tuple(facts["notes"]))
    except Exception as error:  # TFDS and the libraries of its formats raise whatever their parsers do
        raise Damaged(printable(f"{type(error).__name__}: {' '.join(str(error).split())}", 120)) from error


def _facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "corpus": dataset.name,
        "kind": task_of(dataset.labels).kind,
        "names": list(dataset.labels.names),
        "splits": list(dataset.splits),
        "features": list(dataset.feature_sizes()),
        "notes": list(dataset.notes),
    }


def _write_manifest(records: pathlib.Path, facts: dict[str, Any]) -> None:
    files = {path.name: checksums.digest(path) for path in sorted(records.iterdir())}
    content = {"facts": facts, "files": files}
    write_json(records / MANIFEST, content | {"sha256": _digest_of(content)})


def _checked_facts(records: pathlib.Path) -> dict[str, Any]:
    """Returns the facts of a manifest, which must be as it was written, as must all files that it names."""
    try:
        content = read_json(records / MANIFEST, "the manifest of prepared data")
        if not isinstance(content, dict) or content.pop("sha256", None) != _digest_of(content):
            raise Damaged(f"{MANIFEST} is not as it was written")
        for name, digest in content["files"].items():
            if checksums.digest(records / name) != digest:
                raise Damaged(f"{name} is not as it was written")
    except OSError as error:
        raise Damaged(f"{pathlib.Path(error.filename or '').name}: {error.strerror}") from error
    except ValueError as error:  # an InputError too
        raise Damaged(f"{MANIFEST} is missing or not as it was written") from error
    return content["facts"]


def _digest_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Hides TFDS's progress bars and the announcements that it prints."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@functools.cache
def _builder_class() -> type:
    """Returns the TFDS builder's class; in a function because importing TFDS takes long and is rarely needed."""
    import tensorflow_datasets as tfds

    class Conversations(tfds.core.GeneratorBasedBuilder):
        """One record per conversation."""

        VERSION = tfds.core.Version(VERSION)
        name = _BUILDER
        url_infos = None  # nothing is downloaded; looking for a list of URLs needs a package that TFDS does not require

        def __init__(self, dataset: Dataset, **kwargs: Any):
            self._dataset = dataset
            formats = tfds.core.FileFormat
            super().__init__(file_format=formats.ARRAY_RECORD if has_array_record() else formats.PARQUET, **kwargs)

        def _info(self) -> tfds.core.DatasetInfo:
            dataset = self._dataset
            turn: dict[str, Any] = {name: tfds.features.Text() for name in ("id", "speaker", "text")}
            if isinstance(dataset.labels, LabelSpace):
                turn["label"] = tfds.features.Scalar(dtype=np.int32)
            record = {"id": tfds.features.Text(), "turns": tfds.features.Sequence(turn)}
            if isinstance(dataset.labels, ValueSpace):
                record["values"] = tfds.features.Tensor(shape=(None, len(dataset.labels)), dtype=np.float32)
            for name, size in dataset.feature_sizes().items():
                record[_FEATURE + name] = tfds.features.Tensor(shape=(None, size), dtype=np.float32)
            return tfds.core.DatasetInfo(
                builder=self,
                description="Conversations.",
                features=tfds.features.FeaturesDict(record),
                disable_shuffling=True,  # the reader's order is part of the data
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            # TFDS takes no empty splits; the manifest remembers them.
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
