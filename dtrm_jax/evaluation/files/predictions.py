"""``predictions.csv``: one row per turn of a split, with its annotation, what was predicted, and what the model saw.

The file is UTF-8 and follows RFC 4180. Its columns are ``conversation``, ``turn`` (the turn's id in its source),
``speaker`` and ``text``, as in people's own tables, then those of the task. For classes these are ``label`` (empty if
the turn is not annotated), ``prediction``, and the probability of every emotion in a column ``p_<label>``, in the order
of the label space. For real values there are two per target, ``label_<name>`` (empty if not annotated) and
``prediction_<name>``. Last come columns on the insides of the model, as far as it has them: ``attended_turn_u``,
``gate_ua`` and more, which ``evaluation.files.inside_columns`` documents. Conversations follow each other in the order
of the split, turns in the order they were spoken. The file appears complete or not at all.

Files of earlier versions, which call ``conversation`` and ``text`` otherwise, are read as well.
"""

import contextlib
import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dtrm_jax.conversation import Conversation
from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import inside_columns
from dtrm_jax.replacing import replacing
from dtrm_jax.tasks import TASKS, PredictedTurn, Task
from dtrm_jax.tasks.rows import TurnInsides

Add = Callable[..., None]

TURN_COLUMNS = ("conversation", "turn", "speaker", "text")

_EARLIER = ("dialogue_id", "turn", "speaker", "utterance")  # the same columns in earlier versions


def write(
    path: str | os.PathLike,
    conversations: Sequence[Conversation],
    outputs: Sequence[np.ndarray],
    task: Task,
    insides: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Writes ``predictions.csv``, with the folders above it; an existing file is replaced.

    Args:
        path: The file to write.
        conversations: The conversations of the split.
        outputs: For each conversation, ``[L, C]``: every turn's probability of every emotion, of which the largest is
            the prediction (the first of equals), or its real values. float32 values are written so that they are read
            back exactly.
        task: What was predicted.
        insides: For each conversation, the model's summary of its turns (``Evaluator.outputs_and_insides``). If None,
            there are no such columns.

    Raises:
        ValueError: The arrays do not match the conversations, are not finite, or an annotation is not of the task.
    """
    if len(conversations) != len(outputs):
        raise ValueError(f"expected outputs of {len(conversations)} conversations, found those of {len(outputs)}")
    insides = [{} for _ in conversations] if insides is None else insides
    with writing(path, task, insides[0] if insides else ()) as add:
        for conversation, outputs_LxC, insides_L in zip(conversations, outputs, insides, strict=True):
            add(conversation, outputs_LxC, insides_L)


@contextlib.contextmanager
def writing(path: str | os.PathLike, task: Task, insides: Iterable[str] = ()) -> Iterator[Add]:
    """Writes ``predictions.csv`` conversation by conversation, for predictions that do not fit into memory.

    Args:
        path: The file to write; it appears when all is written.
        task: What is predicted.
        insides: Names of the columns on the model's insides.

    Yields:
        ``add(conversation, outputs_LxC, insides_L=None)``, whose arguments are as ``write`` has them. It raises
        ValueError as ``write`` does.
    """
    with replacing(path) as file:
        writer = csv.writer(file)  # the csv module's own dialect is RFC 4180's
        writer.writerow([*TURN_COLUMNS, *task.header, *inside_columns.ordered(insides)])

        def add(
            conversation: Conversation, outputs_LxC: np.ndarray, insides_L: Mapping[str, np.ndarray] | None = None
        ) -> None:
            rows = zip(
                conversation.turns,
                _checked(conversation, outputs_LxC, task),
                inside_columns.cells(insides_L or {}, [turn.id for turn in conversation.turns]),
                strict=True,
            )
            for turn, outputs_C, inside_cells in rows:
                turn_cells = (conversation.id, turn.id, turn.speaker, turn.text)
                writer.writerow([*turn_cells, *task.cells(turn, outputs_C), *inside_cells])

        yield add


def read(path: str | os.PathLike) -> tuple[list[PredictedTurn], Task]:
    """Reads ``predictions.csv``.

    Returns:
        A row for every turn, in the file's order, and the task that the columns name.

    Raises:
        InputError: Names the file, the line and what was expected.
    """
    with reading(path) as (task, rows):
        return list(rows), task


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[tuple[Task, Iterator[PredictedTurn]]]:
    """Opens ``predictions.csv``, for files that do not fit into memory.

    Yields:
        The task that the columns name, and an iterator of the rows.

    Raises:
        InputError: As ``read``, here or from the iterator.
    """
    try:
        file = open(path, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        reader = csv_file.reader(file)
        with _located(path, reader):
            header = next(reader, [])
            task, own = _task_in(header)
            inside_columns.check_header(header[own:])
        yield task, _rows(path, reader, header, task, own)


def _rows(path: str | os.PathLike, reader: Any, header: Sequence[str], task: Task, own: int) -> Iterator[PredictedTurn]:
    """Yields the rows; the first ``own`` columns are not of the insides."""
    ids: dict[str, set[str]] = {}  # of the turns that attention can have looked at
    with _located(path, reader):  # errors of whoever takes the rows do not come by here
        for cells in reader:
            if len(cells) != len(header):
                raise ValueError(f"expected {len(header)} fields, found {len(cells)}")
            turn = dict(zip(TURN_COLUMNS, cells, strict=False))
            insides = TurnInsides()
            if names := header[own:]:
                earlier = ids.setdefault(turn["conversation"], set())
                insides = inside_columns.parse(names, cells[own:], earlier)
                earlier.add(turn["turn"])
            yield task.parse(cells[len(TURN_COLUMNS) : own], turn | {"insides": insides})


@contextlib.contextmanager
def _located(path: str | os.PathLike, reader: Any) -> Iterator[None]:
    """Names the file and the line in what is wrong there."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _checked(conversation: Conversation, outputs_LxC: np.ndarray, task: Task) -> np.ndarray:
    """Returns ``[L, C]`` outputs in the precision that they are written in."""
    outputs_LxC = np.asarray(outputs_LxC)
    expected = (len(conversation), len(task.labels))
    if outputs_LxC.shape != expected:
        raise ValueError(
            f"conversation {conversation.id}: expected outputs of shape {expected}, found {outputs_LxC.shape}"
        )
    if not np.isfinite(outputs_LxC).all():
        raise ValueError(f"conversation {conversation.id}: the outputs are not finite")
    return outputs_LxC if outputs_LxC.dtype == np.float64 else outputs_LxC.astype(np.float32)


def _task_in(header: Sequence[str]) -> tuple[Task, int]:
    """Returns the task that a file's columns name, and how many columns there are before those of the insides."""
    first = len(TURN_COLUMNS)
    if tuple(header[:first]) in (TURN_COLUMNS, _EARLIER):
        for kind in TASKS.values():
            if (found := kind.from_header(header[first:])) is not None:
                task, own = found
                return task, first + own
    kinds = "; or ".join(kind.columns for kind in TASKS.values())
    raise ValueError(f"expected the columns {', '.join(TURN_COLUMNS)}, then {kinds}; found {header}")
