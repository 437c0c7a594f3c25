"""Predicts sources and writes their turns with the predictions beside the columns that they came with."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tqdm

from dtrm_jax.conversation import Conversation
from dtrm_jax.data.readers import table_files
from dtrm_jax.data.readers.table_rows import Table
from dtrm_jax.errors import InputError
from dtrm_jax.inference.prediction import outputs_of
from dtrm_jax.inference.predictor import Predictor, in_blocks
from dtrm_jax.prediction_files.reading import Reader, Talks
from dtrm_jax.prediction_files.sources import Source, titles
from dtrm_jax.prediction_files.writing import Answer, Writer, require_free
from dtrm_jax.tasks import Task

# Takes a conversation and its outputs ``[L, C]``.
Record = Callable[[Conversation, np.ndarray], None]

_TURNS = 16_384  # that are predicted at once: enough to pack well, few enough to keep
_FILE = "file"  # the column that says which source a turn is from, if there are several
_ADDED = ("conversation", "turn")  # columns that every turn gets, so that it can be told from others


class Predicting:
    """Sources that are known to be good, ready to be predicted.

    Args:
        predictor: The trained model.
        sources: Where the conversations are.
        columns: The setting ``data.columns``.
        format: What they are to be written in.

    Attributes:
        predictor: The trained model.
        sources: As given.
        columns: Of all sources, in order.
        predicted: Columns of the predictions.
        notes: What was forgiven in reading them, a line each.

    Raises:
        InputError: A source is malformed, has a column that a prediction needs, or a value that the format cannot hold.
    """

    def __init__(self, predictor: Predictor, sources: Sequence[Source], columns: str, format: type[Writer]):
        self.predictor, self.sources = predictor, sources
        self._reader = Reader(predictor.trained, columns)
        self.predicted = list(self.task.predicted(np.zeros(len(predictor.labels), np.float32)))
        # All are read before the first is predicted, so that a mistake in the last costs seconds, not hours.
        found: dict[str, None] = {}
        notes: dict[str, None] = {}
        self._count = 0
        self._titles = titles(sources)
        for source, title in zip(sources, self._titles, strict=True):
            talks = self._only = self._reader.read(source)
            found |= dict.fromkeys([*self._added(talks), *talks.table.keys])
            if source.kind != table_files.TRANSCRIPT:  # whose form has no columns that could be missing
                notes |= dict.fromkeys(f"{title}: {note}" for note in talks.table.notes)
            if talks.conversations[0].features:
                far = predictor.trained.normalization.describe_far({title: talks.conversations})
                notes |= dict.fromkeys(far)
            self._count += len(talks.conversations)
            require_free(source.path, talks.table.keys, self.predicted)
            _require_writable(talks.table, format)
        self.columns = list(found) if self._alone or _FILE in found else [_FILE, *found]
        self.notes = tuple(notes)

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.predictor.trained.task

    @property
    def _alone(self) -> bool:
        return len(self.sources) == 1

    def write(self, writer: Writer, record: Record | None = None) -> None:
        """Predicts everything, source by source, and writes it; a bar on a terminal's standard error counts.

        Args:
            writer: Is given the turns of each source, in the source's order.
            record: Is given each conversation and its outputs ``[L, C]``, too.

        Raises:
            InputError: A conversation lacks what the model takes.
        """
        with tqdm.tqdm(total=self._count, unit="conversation", disable=not sys.stderr.isatty()) as bar:
            for source, title in zip(self.sources, self._titles, strict=True):
                talks = self._only if self._alone else self._reader.read(source)
                try:
                    outputs_NxC = self._outputs(title, talks, bar, record)
                except InputError as error:
                    raise InputError(f"{source.path}: {error}") from error
                answers = self._answers(source, title, talks, outputs_NxC)
                while part := list(itertools.islice(answers, _TURNS)):
                    writer.write(part)
        writer.end()

    def _outputs(self, title: str, talks: Talks, bar: tqdm.tqdm, record: Record | None) -> np.ndarray:
        """Returns the outputs of every row, float32 ``[N, C]``."""
        outputs_NxC = np.empty((len(talks.table.rows), len(self.predictor.labels)), np.float32)
        for numbers in _blocks(talks):
            found = self.predictor.predict([talks.conversations[number] for number in numbers])
            for number, turns in zip(numbers, found, strict=True):
                places, conversation = list(talks.places[number]), talks.conversations[number]
                outputs_NxC[places] = [outputs_of(turn) for turn in turns]
                if record is not None:
                    named = dataclasses.replace(conversation, id=self._of_all(title, conversation.id))
                    record(named, outputs_NxC[places])
            bar.update(len(numbers))
        return outputs_NxC

    def _answers(self, source: Source, title: str, talks: Talks, outputs_NxC: np.ndarray) -> Iterator[Answer]:
        """Yields the rows of a source, in its order."""
        added, keys = self._added(talks), talks.table.keys
        file = {_FILE: str(source.path)} if not self._alone and _FILE not in keys else {}
        for row, outputs_C in zip(talks.table.rows, outputs_NxC, strict=True):
            values = row.values
            yield Answer(
                conversation=self._of_all(title, values["conversation"]),
                speaker=values["speaker"],
                text=values.get("text") or "",
                own={
                    **file,
                    **{name: values[name] for name in added},
                    **{name: values.get(key) for name, key in keys.items()},
                },
                predicted=self.task.predicted(outputs_C),
            )

    def _of_all(self, title: str, conversation: str) -> str:
        """Returns what tells a conversation from those of all sources, by the title of its own."""
        return conversation if self._alone else f"{title}: {conversation}"

    def _added(self, talks: Talks) -> list[str]:
        """Returns the columns that a source lacks and that its rows get."""
        return [name for name in _ADDED if name not in talks.table.keys.values()]


def _require_writable(table: Table, format: type[Writer]) -> None:
    """Raises InputError if a format cannot hold a value of a table; names the row and the column."""
    for row in table.rows:
        for name, key in table.keys.items():
            if why := format.refused(row.values.get(key)):
                raise InputError(f"{table.at(row)}: column {name}: {why}")


def _blocks(talks: Talks) -> Iterator[list[int]]:
    """Returns the numbers of conversations that are predicted at once."""
    return in_blocks(range(len(talks.places)), lambda number: len(talks.places[number]), _TURNS)
