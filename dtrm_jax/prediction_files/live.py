"""A conversation that goes on: line in, answer out, before the next line is read."""

import csv
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from dtrm_jax.conversation import FEATURES
from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers import csv_file, table_files
from dtrm_jax.errors import InputError
from dtrm_jax.inference.prediction import outputs_of
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files.sources import KINDS, told
from dtrm_jax.prediction_files.writing import FORMATS_OF_LINES, Answer

Lines = Iterator[tuple[int, str]]  # a line's number and its text
Rows = Iterator[tuple[int, dict[str, Any]]]  # a line's number and its columns


def answers(predictor: Predictor, path: pathlib.Path, file: BinaryIO, kind: str, columns: str) -> Iterator[Answer]:
    """Yields the answer to each turn as soon as its line is there.

    Lines may belong to several conversations, which go on side by side, if there is a column for the conversation.

    Args:
        predictor: The trained model.
        path: Name of the file, for errors.
        file: The lines.
        kind: One of ``LIVE``; if it is empty, the first line tells.
        columns: The setting ``data.columns``.

    Raises:
        InputError: A line is malformed; names it. The lines before it have been answered.
    """
    task, streams = predictor.trained.task, {}
    for number, values, names in _turns(path, file, kind, columns):
        turn = {ours: values[theirs] for theirs, ours in names.items()}
        name = "" if turn.get("conversation") is None else str(turn["conversation"])
        if name not in streams:
            streams[name] = predictor.stream(name or path.stem)
        speaker, text = turn.get("speaker"), turn.get("text") or ""
        features = {modality: turn[modality] for modality in FEATURES if modality in turn}
        try:
            prediction = streams[name].add(speaker, text, features or None)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        yield Answer(
            conversation=name,
            speaker=speaker,
            text=text,
            own=values,
            predicted=task.predicted(np.asarray(outputs_of(prediction), np.float32)),
        )


def checked(format: str) -> str:
    """Returns the format; raises InputError if it cannot be written line by line."""
    if format not in FORMATS_OF_LINES:
        raise InputError(f"--stream: expected --format {', '.join(FORMATS_OF_LINES)}, found {format}")
    return format


def write(answers: Iterator[Answer], format: str, file: BinaryIO) -> None:
    """Writes each answer and flushes it, before the next is asked for.

    Args:
        answers: From ``answers``. The columns of the first are those of a csv file.
        format: One of ``writing.FORMATS_OF_LINES``.
        file: Standard output.
    """
    writer = None
    for answer in answers:
        writer = writer or FORMATS_OF_LINES[format](file, list(answer.own), list(answer.predicted))
        writer.write([answer])
        file.flush()


def _turns(
    path: pathlib.Path, file: BinaryIO, kind: str, columns: str
) -> Iterator[tuple[int, dict[str, Any], dict[str, str]]]:
    """Yields the number, the columns and the project's names of the columns of each line that is not empty."""
    lines = _lines(path, file)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: expected turns, found none")
    kind = kind or told(path, first[1].encode(), columns)
    if kind not in LIVE:
        known = ", ".join(ending.removeprefix(".") for ending in LIVE)
        raise InputError(f"{path}: expected a kind of which each line is a turn, {known}, found {kind[1:]}")
    named = columns_lib.parse(columns, "columns")
    for number, values in LIVE[kind](path, itertools.chain([first], lines)):
        names, _ = columns_lib.resolve(path, list(values), named, "columns")
        yield number, values, names


def _lines(path: pathlib.Path, file: BinaryIO) -> Lines:
    """Yields the lines that are not empty, each as soon as it is there."""
    for number, line in enumerate(iter(file.readline, b""), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            found = error.object[error.start]
            raise InputError(f"{path}, line {number}: expected UTF-8, found byte 0x{found:02x}") from None
        if "\0" in text:
            raise InputError(f"{path}, line {number}: expected text, found a NUL byte")
        if text.strip():
            yield number, text


def _of_text(path: pathlib.Path, lines: Lines) -> Rows:
    return ((number, table_files.transcript_row(path, number, text)) for number, text in lines)


def _of_objects(path: pathlib.Path, lines: Lines) -> Rows:
    return ((number, table_files.json_row(path, number, text)) for number, text in lines)


def _of_fields(path: pathlib.Path, lines: Lines) -> Rows:
    """Yields the rows of a csv file, each of which ends with its line."""
    _, first = next(lines)
    delimiter = csv_file.delimiter_of(first)
    header, _ = csv_file.parse(path, first, delimiter)
    csv_file.require_once(path, header)
    for number, text in lines:
        try:
            (cells,) = csv_file.reader([text], delimiter)
        except csv.Error as error:
            raise InputError(f"{path}, line {number}: not a CSV row: {error}") from None
        if len(cells) != len(header):
            raise InputError(f"{path}, line {number}: expected {len(header)} fields, found {len(cells)}")
        yield number, {name: cell or None for name, cell in zip(header, cells, strict=True)}


# The kinds of which each line is a turn, and how its columns are read.
LIVE: dict[str, Callable[[pathlib.Path, Lines], Rows]] = {
    KINDS["txt"]: _of_text,
    KINDS["jsonl"]: _of_objects,
    KINDS["csv"]: _of_fields,
    KINDS["tsv"]: _of_fields,
}
