"""The files of an evaluation: ``predictions.csv``, a row a turn, ``metrics.json`` and ``analysis.json``.

``predictions.csv`` is UTF-8 and follows RFC 4180. Its columns are ``dialogue_id``, ``turn`` (the turn's id in its
source), ``speaker``, ``utterance``, ``label`` (empty if the turn is not annotated), ``prediction``, then the
probability of every emotion in a column ``p_<label>``, in the order of the label space. Where emotions are real values,
each has two columns instead, ``label_<name>`` (empty if not annotated) and ``prediction_<name>``. Conversations follow
each other in the order of the split, turns in the order they were spoken. Every file appears complete or not at all.
"""

import csv
import dataclasses
import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.replacing import replacing

TURN_COLUMNS = ("dialogue_id", "turn", "speaker", "utterance")
COLUMNS = (*TURN_COLUMNS, "label", "prediction")
PROBABILITY_PREFIX = "p_"


@dataclasses.dataclass(frozen=True, slots=True)
class PredictedTurn:
    """One row of ``predictions.csv``; ``probabilities`` are in the order of the label space."""

    dialogue_id: str
    turn: str
    speaker: str
    utterance: str
    label: str | None
    prediction: str
    probabilities: tuple[float, ...]


def write(
    path: str | os.PathLike,
    conversations: Sequence[Conversation],
    outputs: Sequence[np.ndarray],
    labels: LabelSpace | ValueSpace,
) -> None:
    """Writes ``predictions.csv``, with the folders above it; a file that is there is replaced.

    Args:
        path: The file to write.
        conversations: The conversations of the split.
        outputs: For each conversation, ``[L, C]``: every turn's probability of every emotion, of which the largest is
            the prediction (the first of equals), or its real values. float32 values are written so that they are read
            back exactly.
        labels: The C emotions.

    Raises:
        ValueError: The arrays do not match the conversations, are not finite, or a turn's label is not in ``labels``.
    """
    what, header = "probabilities", [*COLUMNS, *(PROBABILITY_PREFIX + name for name in labels.names)]
    if isinstance(labels, ValueSpace):
        pairs = ((f"label_{name}", f"prediction_{name}") for name in labels.names)
        what, header = "values", [*TURN_COLUMNS, *(column for pair in pairs for column in pair)]
    if len(conversations) != len(outputs):
        raise ValueError(f"expected {what} of {len(conversations)} conversations, found those of {len(outputs)}")
    with replacing(path) as file:
        writer = csv.writer(file)  # the csv module's own dialect is RFC 4180's
        writer.writerow(header)
        for conversation, outputs_LxC in zip(conversations, outputs, strict=True):
            for turn, outputs_C in zip(
                conversation.turns, _checked(conversation, outputs_LxC, labels, what), strict=True
            ):
                cells = _value_cells if isinstance(labels, ValueSpace) else _class_cells
                turn_cells = (conversation.id, turn.id, turn.speaker, turn.text)
                writer.writerow([*turn_cells, *cells(turn, outputs_C, labels)])


def read(path: str | os.PathLike) -> tuple[list[PredictedTurn], LabelSpace]:
    """Reads ``predictions.csv`` of classes.

    Returns:
        A row for every turn, in the file's order, and the label space that its columns name.

    Raises:
        InputError: Names the file, the line and what was expected.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                labels = _read_header(next(reader, []))
                return [_read_row(fields, labels) for fields in reader], labels
            except (ValueError, csv.Error) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def write_metrics(path: str | os.PathLike, metrics: dict[str, Any]) -> None:
    """Writes ``metrics.json`` or ``analysis.json``, with the folders above it; a file that is there is replaced.

    Single numbers come first, then lists and tables, each in the order given; a list or table of numbers keeps to one
    line, so that a confusion matrix reads as one.

    Raises:
        ValueError: A number is not finite, which JSON cannot hold.
        TypeError: A value is not of a JSON type.
    """
    ordered = dict(sorted(metrics.items(), key=lambda item: isinstance(item[1], dict | list)))
    text = _layout(ordered, indent="")
    with replacing(path) as file:
        file.write(text + "\n")


def _checked(
    conversation: Conversation, outputs_LxC: np.ndarray, labels: LabelSpace | ValueSpace, what: str
) -> np.ndarray:
    """Returns ``[L, C]`` outputs in the precision that they are written in."""
    outputs_LxC = np.asarray(outputs_LxC)
    if outputs_LxC.shape != (len(conversation), len(labels)):
        raise ValueError(
            f"conversation {conversation.id}: expected {what} of shape {(len(conversation), len(labels))}, "
            f"found {outputs_LxC.shape}"
        )
    if not np.isfinite(outputs_LxC).all():
        raise ValueError(f"conversation {conversation.id}: the {what} are not finite")
    return outputs_LxC if outputs_LxC.dtype == np.float64 else outputs_LxC.astype(np.float32)


def _class_cells(turn: Turn, probabilities_C: np.ndarray, labels: LabelSpace) -> list[str]:
    if turn.label is not None:
        labels.index(turn.label)
    prediction = labels.names[int(probabilities_C.argmax())]
    # str() of a NumPy scalar is the shortest decimal that gives the same value in its own precision.
    return [turn.label or "", prediction, *(str(probability) for probability in probabilities_C)]


def _value_cells(turn: Turn, values_V: np.ndarray, _: ValueSpace) -> list[str]:
    # Annotations are known in single precision (data.builders), so that more digits would say nothing.
    labels_V = ["" if value is None else str(np.float32(value)) for value in turn.values]
    return [cell for pair in zip(labels_V, map(str, values_V), strict=True) for cell in pair]


def _read_header(header: list[str]) -> LabelSpace:
    fixed, rest = header[: len(COLUMNS)], header[len(COLUMNS) :]
    names = tuple(name.removeprefix(PROBABILITY_PREFIX) for name in rest)
    named = all(name.startswith(PROBABILITY_PREFIX) for name in rest)
    if tuple(fixed) != COLUMNS or not names or not named or len(set(names)) < len(names):
        expected = ", ".join(COLUMNS)
        raise ValueError(f"expected the columns {expected} and one {PROBABILITY_PREFIX}<label> a label, found {header}")
    return LabelSpace(names)


def _read_row(fields: list[str], labels: LabelSpace) -> PredictedTurn:
    expected = len(COLUMNS) + len(labels)
    if len(fields) != expected:
        raise ValueError(f"expected {expected} fields, found {len(fields)}")
    dialogue_id, turn, speaker, utterance, label, prediction = fields[: len(COLUMNS)]
    for name in (label, prediction) if label else (prediction,):
        labels.index(name)
    probabilities = tuple(_read_number(field) for field in fields[len(COLUMNS) :])
    return PredictedTurn(dialogue_id, turn, speaker, utterance, label or None, prediction, probabilities)


def _read_number(field: str) -> float:
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a probability, found {field!r}")
    return number


def _layout(value: Any, indent: str) -> str:
    """Returns ``value`` as JSON, spread over lines unless it is a scalar or holds only scalars."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, dict | list) for child in children):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + "  "
    parts = [_layout(child, inner) for child in children]
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {part}" for key, part in zip(value, parts, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + ",".join(f"\n{inner}{part}" for part in parts) + f"\n{indent}{closing}"
