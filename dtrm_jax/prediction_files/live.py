"""A conversation that goes on: line in, answer out, before the next line is read."""

import csv
import itertools
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dtrm_jax.conversation import FEATURES
from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers import csv_file, table_files, table_rows
from dtrm_jax.errors import InputError
from dtrm_jax.inference.prediction import outputs_of
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files.reading import check_characters
from dtrm_jax.prediction_files.sources import KINDS, told
from dtrm_jax.prediction_files.writing import FORMATS_OF_LINES, Answer, require_free

Lines = Iterator[tuple[int, str]]  # a line's number and its text
Rows = Iterator[tuple[int, dict[str, Any]]]  # a line's number and its columns

_NAMING = ("conversation", "turn")  # columns that all lines have, or none
_TABLES = (KINDS["csv"], KINDS["tsv"])


class _LiveTurn(NamedTuple):
    """A line, checked as the row of a file is.

    Attributes:
        number: Of the line.
        conversation: Its name; empty if lines name none.
        own: Its columns as they are called in the file.
        values: Those that are read, by the project's names.
    """

    number: int
    conversation: str
    own: dict[str, Any]
    values: dict[str, Any]


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
    columns_of_predictions = task.predicted(np.zeros(len(predictor.labels), np.float32)).keys()
    for number, name, own, turn in _turns(path, file, kind, columns):
        require_free(path, own, columns_of_predictions)
        if name not in streams:
            streams[name] = predictor.stream(name or path.stem)
        text = "" if turn.get("text") is None else turn["text"]
        features = {modality: turn[modality] for modality in FEATURES if modality in turn}
        try:
            prediction = streams[name].add(turn["speaker"], text, _there(features, streams[name].turns))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
        yield Answer(
            conversation=name,
            speaker=turn["speaker"],
            text=text,
            own=own,
            predicted=task.predicted(np.asarray(outputs_of(prediction), np.float32)),
            place=f"{path}, line {number}: ",
        )


def _there(features: dict[str, Any], turns: int) -> dict[str, Any] | None:
    """Returns the features of a line, None where the first turn has none: whether later ones have is not known."""
    return features if turns or any(vector is not None for vector in features.values()) else None


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


def _turns(path: pathlib.Path, file: BinaryIO, kind: str, columns: str) -> Iterator[_LiveTurn]:
    """Yields the lines that are not empty, each as soon as it is there."""
    lines = _lines(path, file)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: expected turns, found none")
    kind = kind or told(path, first[1].encode(), columns)
    if kind not in LIVE:
        known = ", ".join(ending.removeprefix(".") for ending in LIVE)
        raise InputError(f"{path}: expected a kind of which each line is a turn, {known}, found {kind[1:]}")
    named, naming = columns_lib.parse(columns, "columns"), None
    for number, own in LIVE[kind](path, itertools.chain([first], lines)):
        # A line of jsonl need not have the features of the first one.
        later = naming is not None
        here = {ours: name for ours, name in named.items() if not (later and ours in FEATURES) or name in own}
        found, _ = columns_lib.resolve(path, list(own), here, "columns")
        names = {theirs: ours for theirs, ours in found.items() if ours != "label"}  # which is not looked at
        if kind in _TABLES and (vectors := [name for name in FEATURES if name in names.values()]):
            raise InputError(f"{path}: column {vectors[0]}: a csv file cannot hold features; lines of jsonl can")
        there = [name for name in _NAMING if name in names.values()]
        naming = there if naming is None else naming
        if new := [name for name in there if name not in naming]:
            raise InputError(f"{path}, line {number}: expected no {new[0]}, as the lines before have none, found one")
        values = _checked(path, number, own, names, naming)
        conversation = values["conversation"] if "conversation" in naming else ""
        shown = {theirs: values[names[theirs]] if theirs in names else value for theirs, value in own.items()}
        yield _LiveTurn(number, conversation, shown, values)


def _checked(
    path: pathlib.Path,
    number: int,
    own: Mapping[str, Any],
    names: Mapping[str, str],
    naming: Collection[str],
) -> dict[str, Any]:
    """Returns the columns of a line that are read, by the project's names; what no line names is named here.

    Args:
        path: The file, for errors.
        number: Of the line.
        own: Its columns.
        names: The file's name -> the project's.
        naming: Those of ``_NAMING`` that lines have.

    Raises:
        InputError: A name is missing, or something is no text.
    """
    unnamed = {"conversation": path.stem, "turn": number}
    row = {name: None if name in naming else given for name, given in unnamed.items()}
    row |= {ours: own[theirs] for theirs, ours in names.items()}
    values = table_rows.checked_row(path, number, row)
    check_characters(f"{path}, line {number}", values)
    return values


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
    for number, text in lines:
        for _, part in table_files.transcript_lines(text):  # which may end with a carriage return alone
            yield number, table_files.transcript_row(path, number, part)


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
        yield number, table_files.csv_row(header, cells)


# The kinds of which each line is a turn, and how its columns are read.
LIVE: dict[str, Callable[[pathlib.Path, Lines], Rows]] = {
    KINDS["txt"]: _of_text,
    KINDS["jsonl"]: _of_objects,
    KINDS["csv"]: _of_fields,
    KINDS["tsv"]: _of_fields,
}
