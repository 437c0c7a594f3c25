"""IEMOCAP's transcripts, speakers, labels and splits from ``iemocap.pkl`` (conv-emotion, COSMIC feature extraction)."""

import pathlib
from typing import Any

from dtrm_jax.conversation import IEMOCAP_LABELS, Conversation, Dataset, Turn
from dtrm_jax.data import pickles
from dtrm_jax.errors import InputError

FILE = "iemocap.pkl"

_FIELDS = ("speakers", "labels", "sentences", "train", "test", "valid")  # the file has test before valid
_TURN_FIELDS = {"speakers": str, "labels": int, "sentences": str}
_SPLITS = {"train": "train", "dev": "valid", "test": "test"}


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the file that `read` reads.

    Raises:
        InputError: It is missing.
    """
    path = source / FILE if source.is_dir() else source
    if not path.is_file():
        raise InputError(f"{path}: not found, expected {FILE} of conv-emotion's COSMIC, or the folder that has it")
    return (path,)


def read(source: pathlib.Path) -> Dataset:
    """Reads IEMOCAP's conversations, in ascending order of their ids in each split.

    Args:
        source: ``iemocap.pkl``, or the folder that has it.

    Raises:
        InputError: The file is missing, is no admitted pickle or has another structure; names the conversation.
    """
    (path,) = files(source)
    fields = _fields(path, pickles.load(path))
    splits = {split: sorted(_ids(path, name, fields)) for split, name in _SPLITS.items()}
    _check_partition(path, splits, fields)
    return Dataset(
        "iemocap",
        IEMOCAP_LABELS,
        {split: tuple(_conversation(path, id, fields) for id in ids) for split, ids in splits.items()},
    )


def _fields(path: pathlib.Path, content: Any) -> dict[str, Any]:
    if type(content) is not list or len(content) != len(_FIELDS):
        found = f"a list of {len(content)}" if type(content) is list else type(content).__name__
        raise InputError(f"{path}: expected a list of {len(_FIELDS)} ({', '.join(_FIELDS)}), found {found}")
    fields = dict(zip(_FIELDS, content, strict=True))
    for name in _TURN_FIELDS:
        if type(fields[name]) is not dict:
            raise InputError(f"{path}: expected {name} to be a dict, found {type(fields[name]).__name__}")
    return fields


def _ids(path: pathlib.Path, name: str, fields: dict[str, Any]) -> list[str]:
    """Returns one split's conversation ids."""
    ids = fields[name]
    if type(ids) is not list or not ids or not all(_is_text(id) for id in ids):
        raise InputError(f"{path}: expected {name} to be a list of at least one conversation id")
    return ids


def _check_partition(path: pathlib.Path, splits: dict[str, list[str]], fields: dict[str, Any]) -> None:
    """Checks that every conversation is in exactly one split."""
    owner: dict[str, str] = {}
    for split, ids in splits.items():
        for id in ids:
            if id in owner:
                raise InputError(f"{path}, conversation {id[:40]!r}: listed in {owner[id]} and again in {split}")
            owner[id] = split
    for name in _TURN_FIELDS:
        for id in fields[name]:
            if id not in owner:
                raise InputError(f"{path}, conversation {str(id)[:40]!r}: in {name} but in no split")


def _conversation(path: pathlib.Path, id: str, fields: dict[str, Any]) -> Conversation:
    columns = {}
    for name, kind in _TURN_FIELDS.items():
        column = fields[name].get(id)
        if type(column) is not list or not all(type(value) is kind for value in column):
            raise InputError(f"{path}, conversation {id[:40]!r}: expected {name} to be a list of {kind.__name__}")
        columns[name] = column
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1 or not counts["labels"]:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(f"{path}, conversation {id[:40]!r}: expected one value of each for every turn, found {found}")
    rows = zip(*columns.values(), strict=True)
    return Conversation(id, tuple(_turn(path, id, index, *row) for index, row in enumerate(rows)))


def _turn(path: pathlib.Path, id: str, index: int, speaker: str, label: int, text: str) -> Turn:
    where = f"{path}, conversation {id[:40]!r}, turn {index}"
    if not 0 <= label < len(IEMOCAP_LABELS):
        raise InputError(f"{where}: expected a label from 0 to {len(IEMOCAP_LABELS) - 1}, found {label}")
    for name, value in (("speaker", speaker), ("sentence", text)):
        if not _is_text(value):
            raise InputError(f"{where}: {name} is empty or not valid Unicode")
    return Turn(f"{index}", speaker, text, IEMOCAP_LABELS.names[label])


def _is_text(value: Any) -> bool:
    """Whether ``value`` is a string that is not blank and holds no lone surrogates, which no file could store."""
    if type(value) is not str or not value.strip():
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
