"""From a source to conversations that a model can predict; labels are not needed, and not looked at."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtrm_jax.conversation import Conversation
from dtrm_jax.data.features import present_rows
from dtrm_jax.data.readers import table, table_rows, table_turns
from dtrm_jax.data.readers.table_rows import Table
from dtrm_jax.errors import InputError
from dtrm_jax.inference.trained import Trained
from dtrm_jax.prediction_files.sources import Source

_READ = ("conversation", "turn", "speaker", "text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Talks:
    """The conversations of one source.

    Attributes:
        table: Its rows, one per turn.
        conversations: In the order in which their first rows appear.
        places: For each conversation, the indices of its rows.
    """

    table: Table
    conversations: tuple[Conversation, ...]
    places: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads sources for one trained model.

    Attributes:
        trained: The model, which says what it takes of a turn.
        columns: The setting ``data.columns`` for these sources.
    """

    trained: Trained
    columns: str

    def read(self, source: Source) -> Talks:
        """Reads a source.

        Raises:
            InputError: It cannot be read, is malformed or lacks what the model takes; names the source and the row.
        """
        reads_text = self.trained.config.model.reads_text
        sizes = dict(self.trained.normalization.sizes)
        beside = source.path.with_suffix(".npz").is_file() and source.content is None
        rows = table_rows.load(
            source.path,
            self.columns,
            kind=source.kind,
            content=source.content,
            one_conversation=True,
            setting="columns",  # dtrm-predict's flag
            text_needed=reads_text and not (sizes and beside),
            labels_needed=False,
        )
        for row in rows.rows:
            check_characters(rows.at(row), row.values)
        features = _features(rows, sizes, beside)
        if not reads_text and not features:
            raise InputError(f"{source.path}: expected {_described(sizes)}, as this model reads no text, found none")
        if reads_text:
            _check_texts(rows, features)
        places: dict[str, list[int]] = {}
        for place, row in enumerate(rows.rows):
            places.setdefault(row.values["conversation"], []).append(place)
        return Talks(
            table=rows,
            conversations=table_turns.conversations(rows, None, features),
            places=tuple(map(tuple, places.values())),
        )


def check_characters(where: str, values: Mapping[str, Any]) -> None:
    """Refuses what no text of people holds, such as the zeros of a binary file.

    Args:
        where: Names the turn in the message.
        values: Of the turn, by the project's names.

    Raises:
        InputError: There is such a character.
    """
    for name in _READ:
        value = values.get(name)
        if isinstance(value, str) and "\0" in value:
            raise InputError(f"{where}: expected text as {name}, found a NUL byte")


def _features(rows: Table, sizes: Mapping[str, int], beside: bool) -> dict[str, np.ndarray]:
    """Returns the features that the model takes, NaN throughout where a turn or the file lacks them."""
    if not sizes or not (beside or rows.columns & sizes.keys()):
        return {}
    found = {name: array for name, array in table.features_of(rows).items() if name in sizes}
    for name, array in found.items():
        if array.shape[1] != sizes[name]:
            row = rows.rows[int(np.argmax(present_rows(array)))]
            raise InputError(f"{rows.at(row)}: expected {sizes[name]} {name} features, found {array.shape[1]}")
    absent = {name: np.full((len(rows.rows), size), np.nan, np.float32) for name, size in sizes.items()}
    return {**absent, **found} if found else {}


def _described(sizes: Mapping[str, int]) -> str:
    return " and ".join(f"{size} {name} features" for name, size in sizes.items())


def _check_texts(rows: Table, features: Mapping[str, np.ndarray]) -> None:
    """Refuses a turn that has neither a text nor features."""
    there = [present_rows(array) for array in features.values()]
    for place, row in enumerate(rows.rows):
        text = row.values.get("text")
        if text is None or (isinstance(text, str) and not text.strip()):
            if not any(known[place] for known in there):
                raise InputError(f"{rows.at(row)}: expected a text, found an empty one")
