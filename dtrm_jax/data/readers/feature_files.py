"""The field's pickles of conversations and features, recognised by their structure and brought into one form.

Files of the same name differ from repository to repository, and files of different names agree, so that nothing is
taken from a name. A file is a tuple or list. Its fields are dicts by conversation id, each with one value per turn, and
collections of the ids of each split. Which field is which follows from how many there are and what they hold; sizes
of features come from the data.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dtrm_jax import safe_pickle
from dtrm_jax.conversation import SPLITS
from dtrm_jax.data.readers.feature_layouts import FIELDS, is_vector, recognise
from dtrm_jax.errors import InputError

SUFFIXES = (".pkl", ".pickle", ".p")

MAX_DIGITS = 18  # of an id that is a number


@dataclasses.dataclass(frozen=True)
class PickledConversation:
    """One conversation of a file; every field has one entry per turn.

    Attributes:
        speakers: Names; of a one-hot vector, the index.
        labels: Numbers: a class, or a real value.
        sentences: The utterances, "" where there is no text.
        features: Feature name -> float32 ``[L, M]``.
    """

    speakers: tuple[str, ...]
    labels: tuple[float, ...]
    sentences: tuple[str, ...]
    features: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.speakers)


@dataclasses.dataclass(frozen=True)
class PickledCorpus:
    """One file.

    Attributes:
        path: The file.
        splits: train, dev (if the file has one) and test -> sorted conversation ids.
        conversations: By id; those of the splits and no others.
        features: Names of its features.
    """

    path: pathlib.Path
    splits: dict[str, tuple[str, ...]]
    conversations: dict[str, PickledConversation]
    features: tuple[str, ...]

    def where(self, id: str, turn: int | None = None) -> str:
        """Names a conversation, or a turn, in a message."""
        return f"{self.path}, conversation {id[:40]!r}" + ("" if turn is None else f", turn {turn}")


def candidates(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the pickles of a folder, by name, or the one file that ``source`` is."""
    if source.is_file():
        return (source,)
    if not source.is_dir():
        return ()
    return tuple(sorted(path for path in source.iterdir() if path.suffix in SUFFIXES and path.is_file()))


def read(path: pathlib.Path) -> PickledCorpus:
    """Reads a file of one of ``feature_layouts.LAYOUTS``.

    Raises:
        InputError: It is no admitted pickle or has another structure; names the conversation and the turn.
    """
    return parse(path, safe_pickle.load(path))


def parse(path: pathlib.Path, content: Any) -> PickledCorpus:
    """Brings the content of a file into one form.

    Raises:
        InputError: It has another structure; names the conversation and the turn.
    """
    fields = recognise(path, content)
    splits = {split: _split(path, split, fields[split]) for split in SPLITS if split in fields}
    _check_splits(path, splits)
    columns = {
        name: _by_name(path, name, fields[name])
        for name in ("speakers", "labels", "sentences", *FIELDS)
        if name in fields
    }
    if "dev" in fields:  # COSMIC's files list every conversation; the others are used by their lists alone
        _check_complete(path, columns, splits)
    ids = [id for split in splits.values() for id in split]
    conversations = {id: _conversation(path, id, columns) for id in ids}
    features = tuple(name for name in FIELDS if name in fields)
    _check_sizes(path, conversations, features)
    return PickledCorpus(path, splits, conversations, features)


def _by_name(path: pathlib.Path, column: str, field: dict[Any, Any]) -> dict[str, Any]:
    """Returns what is known of each conversation by its id as text."""
    named = {str(id): values for id, values in field.items()}
    if len(named) < len(field):
        raise InputError(f"{path}: {column}: expected each conversation id once, found some as texts and as numbers")
    return named


def whole_number(id: str) -> int | None:
    """Returns the number that an id is; None for others, and for those of more digits than numbers have."""
    return int(id) if id.isdecimal() and len(id) <= MAX_DIGITS else None


def _split(path: pathlib.Path, split: str, ids: Iterable[Any]) -> tuple[str, ...]:
    names = [str(id) for id in ids]
    what = "valid" if split == "dev" else split
    if not names or not all(map(is_text, names)):
        raise InputError(f"{path}: expected {what} to hold at least one conversation id, and no empty one")
    return tuple(sorted(names, key=lambda name: ((number := whole_number(name)) is None, number or 0, name)))


def _check_splits(path: pathlib.Path, splits: dict[str, tuple[str, ...]]) -> None:
    """Checks that no conversation is listed twice."""
    owner: dict[str, str] = {}
    for split, ids in splits.items():
        for id in ids:
            if id in owner:
                raise InputError(f"{path}, conversation {id[:40]!r}: listed in {owner[id]} and again in {split}")
            owner[id] = split


def _check_complete(path: pathlib.Path, columns: dict[str, dict], splits: dict[str, tuple[str, ...]]) -> None:
    listed = {id for ids in splits.values() for id in ids}
    for name, column in columns.items():
        for id in column:
            if id not in listed:
                raise InputError(f"{path}, conversation {id[:40]!r}: in {name} but in no split")


def _conversation(path: pathlib.Path, id: str, columns: dict[str, dict[str, Any]]) -> PickledConversation:
    where = f"{path}, conversation {id[:40]!r}"
    own = {}
    for name, column in columns.items():
        own[name] = column.get(id)
        if type(own[name]) not in (list, tuple) and not (isinstance(own[name], np.ndarray) and own[name].ndim):
            found = "nothing" if id not in column else type(own[name]).__name__
            raise InputError(f"{where}: expected {name} to be a list, found {found}")
    counts = {name: len(values) for name, values in own.items()}
    if len(set(counts.values())) != 1 or not counts["labels"]:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(f"{where}: expected one value of each for every turn, found {found}")
    return PickledConversation(
        speakers=tuple(_speaker(f"{where}, turn {i}", value) for i, value in enumerate(own["speakers"])),
        labels=tuple(_number(f"{where}, turn {i}", value) for i, value in enumerate(own["labels"])),
        sentences=tuple(_sentence(f"{where}, turn {i}", value) for i, value in enumerate(own["sentences"])),
        features={name: _matrix(where, name, own[name]) for name in FIELDS if name in own},
    )


def _speaker(where: str, value: Any) -> str:
    """Returns a name; of a one-hot vector (MELD), the index."""
    if is_vector(value) or (isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "b"):
        (on,) = np.nonzero(np.asarray(value))
        if len(on) == 1:
            return str(on[0])
    elif type(value) is int or is_text(value):
        return str(value)
    raise InputError(f"{where}: speaker is empty or neither a name nor a one-hot vector")


def _number(where: str, value: Any) -> float:
    value = value.item() if isinstance(value, np.generic | np.ndarray) and np.size(value) == 1 else value
    if type(value) not in (int, float) or not abs(value) < 2**63:
        found = f"{value!r}" if type(value) in (int, float) else type(value).__name__
        raise InputError(f"{where}: expected a finite number as label, found {found}")
    return value


def _sentence(where: str, value: Any) -> str:
    """Returns a text; a list is one of words."""
    if type(value) in (list, tuple) and all(type(word) is str for word in value):
        value = " ".join(value)
    if value is None or (type(value) is str and not value.strip()):
        return ""
    if not is_text(value):
        raise InputError(f"{where}: sentence is empty or not valid Unicode")
    return value


def _matrix(where: str, name: str, vectors: Sequence[Any]) -> np.ndarray:
    """Returns float32 ``[L, M]``."""
    rows, size = [], None
    for turn, vector in enumerate(vectors):
        if not is_vector(vector) or (size is not None and len(vector) != size):
            expected = "a vector of numbers" if size is None else f"a vector of {size} numbers"
            found = f"one of {len(vector)}" if is_vector(vector) else type(vector).__name__
            raise InputError(f"{where}, turn {turn}: expected {name} to be {expected}, found {found}")
        size = len(vector)
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is not finite, and refused
            rows.append(np.asarray(vector, np.float64).astype(np.float32))
    matrix = np.stack(rows)
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        raise InputError(f"{where}, turn {np.argmin(finite)}: {name} features are not finite")
    return matrix


def _check_sizes(path: pathlib.Path, conversations: dict[str, PickledConversation], features: Iterable[str]) -> None:
    for name in features:
        size = None
        for id, conversation in conversations.items():
            found = conversation.features[name].shape[1]
            if size not in (None, found):
                raise InputError(f"{path}, conversation {id[:40]!r}: expected {size} {name} features, found {found}")
            size = found


def is_text(value: Any) -> bool:
    """Whether ``value`` is a string that is not blank and holds no lone surrogates, which no file could store."""
    if type(value) is not str or not value.strip():
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
