"""The files of an evaluation: ``predictions.csv``, a row a turn, ``metrics.json`` and ``analysis.json``.

``predictions.csv`` is UTF-8 and follows RFC 4180. Its columns are ``dialogue_id``, ``turn`` (the turn's id in its
source), ``speaker``, ``utterance``, ``label`` (empty if the turn is not annotated), ``prediction``, then the
probability of every emotion in a column ``p_<label>``, in the order of the label space. Where emotions are real values,
each has two columns instead, ``label_<name>`` (empty if not annotated) and ``prediction_<name>``. Last come columns on
the insides of the model, as far as it has them: ``attended_turn_u``, ``gate_ua`` and more, which
``evaluation.inside_columns`` documents. Conversations follow each other in the order of the split, turns in the order
they were spoken. Every file appears complete or not at all.
"""

import csv
import dataclasses
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import inside_columns
from dtrm_jax.evaluation.files.inside_columns import TurnInsides
from dtrm_jax.replacing import replacing

TURN_COLUMNS = ("dialogue_id", "turn", "speaker", "utterance")
COLUMNS = (*TURN_COLUMNS, "label", "prediction")
PROBABILITY_PREFIX = "p_"
VALUE_PREFIXES = ("label_", "prediction_")

Row = TypeVar("Row", "PredictedTurn", "ValuedTurn")


@dataclasses.dataclass(frozen=True, slots=True)
class PredictedTurn:
    """One row of ``predictions.csv`` of classes; ``probabilities`` are in the order of the label space."""

    dialogue_id: str
    turn: str
    speaker: str
    utterance: str
    label: str | None
    prediction: str
    probabilities: tuple[float, ...]
    insides: TurnInsides = TurnInsides()


@dataclasses.dataclass(frozen=True, slots=True)
class ValuedTurn:
    """One row of ``predictions.csv`` of real values; those and their annotations are in the order of the targets."""

    dialogue_id: str
    turn: str
    speaker: str
    utterance: str
    labels: tuple[float | None, ...]
    predictions: tuple[float, ...]
    insides: TurnInsides = TurnInsides()


def write(
    path: str | os.PathLike,
    conversations: Sequence[Conversation],
    outputs: Sequence[np.ndarray],
    labels: LabelSpace | ValueSpace,
    insides: Sequence[Mapping[str, np.ndarray]] | None = None,
) -> None:
    """Writes ``predictions.csv``, with the folders above it; a file that is there is replaced.

    Args:
        path: The file to write.
        conversations: The conversations of the split.
        outputs: For each conversation, ``[L, C]``: every turn's probability of every emotion, of which the largest is
            the prediction (the first of equals), or its real values. float32 values are written so that they are read
            back exactly.
        labels: The C emotions.
        insides: For each conversation, what ``insides.summarise`` says of its turns; None: no such columns.

    Raises:
        ValueError: The arrays do not match the conversations, are not finite, or a turn's label is not in ``labels``.
    """
    what, header, cells = (
        "probabilities",
        [*COLUMNS, *(PROBABILITY_PREFIX + name for name in labels.names)],
        _class_cells,
    )
    if isinstance(labels, ValueSpace):
        pairs = ([prefix + name for prefix in VALUE_PREFIXES] for name in labels.names)
        what, header, cells = "values", [*TURN_COLUMNS, *(column for pair in pairs for column in pair)], _value_cells
    if len(conversations) != len(outputs):
        raise ValueError(f"expected {what} of {len(conversations)} conversations, found those of {len(outputs)}")
    insides = [{} for _ in conversations] if insides is None else insides
    with replacing(path) as file:
        writer = csv.writer(file)  # the csv module's own dialect is RFC 4180's
        writer.writerow([*header, *inside_columns.ordered(insides[0] if insides else {})])
        for conversation, outputs_LxC, insides_L in zip(conversations, outputs, insides, strict=True):
            rows = zip(
                conversation.turns,
                _checked(conversation, outputs_LxC, labels, what),
                inside_columns.cells(insides_L, [turn.id for turn in conversation.turns]),
                strict=True,
            )
            for turn, outputs_C, inside_cells in rows:
                turn_cells = (conversation.id, turn.id, turn.speaker, turn.text)
                writer.writerow([*turn_cells, *cells(turn, outputs_C, labels), *inside_cells])


def read(path: str | os.PathLike) -> tuple[list[PredictedTurn], LabelSpace]:
    """Reads ``predictions.csv`` of classes.

    Returns:
        A row for every turn, in the file's order, and the label space that its columns name.

    Raises:
        InputError: Names the file, the line and what was expected.
    """
    return _read(path, _class_header, _class_row)


def read_values(path: str | os.PathLike) -> tuple[list[ValuedTurn], ValueSpace]:
    """Reads ``predictions.csv`` of real values; see ``read``."""
    return _read(path, _value_header, _value_row)


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


def _read(
    path: str | os.PathLike,
    read_header: Callable[[list[str]], tuple[Any, int]],
    read_row: Callable[[list[str], Any, TurnInsides], Row],
) -> tuple[list[Row], Any]:
    """Reads a file of either kind: ``read_header`` says how many columns are its own, the rest are of the insides."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = next(reader, [])
                labels, own = read_header(header)
                inside_columns.check_header(header[own:])
                rows: list[Row] = []
                ids: dict[str, set[str]] = {}
                for fields in reader:
                    if len(fields) != len(header):
                        raise ValueError(f"expected {len(header)} fields, found {len(fields)}")
                    earlier = ids.setdefault(fields[0], set())
                    rows.append(
                        read_row(fields[:own], labels, inside_columns.parse(header[own:], fields[own:], earlier))
                    )
                    earlier.add(fields[1])
                return rows, labels
            except (ValueError, csv.Error) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _class_header(header: list[str]) -> tuple[LabelSpace, int]:
    fixed, rest = header[: len(COLUMNS)], header[len(COLUMNS) :]
    names = [name.removeprefix(PROBABILITY_PREFIX) for name in _leading(rest, PROBABILITY_PREFIX)]
    if tuple(fixed) != COLUMNS or not names or len(set(names)) < len(names):
        expected = ", ".join(COLUMNS)
        raise ValueError(f"expected the columns {expected} and one {PROBABILITY_PREFIX}<label> a label, found {header}")
    return LabelSpace(tuple(names)), len(COLUMNS) + len(names)


def _value_header(header: list[str]) -> tuple[ValueSpace, int]:
    fixed, rest = header[: len(TURN_COLUMNS)], header[len(TURN_COLUMNS) :]
    labels, predictions = _leading(rest[::2], VALUE_PREFIXES[0]), _leading(rest[1::2], VALUE_PREFIXES[1])
    names = [name.removeprefix(VALUE_PREFIXES[0]) for name in labels]
    paired = names == [name.removeprefix(VALUE_PREFIXES[1]) for name in predictions]
    if tuple(fixed) != TURN_COLUMNS or not names or not paired or len(set(names)) < len(names):
        kinds = " and ".join(f"{prefix}<name>" for prefix in VALUE_PREFIXES)
        raise ValueError(f"expected the columns {', '.join(TURN_COLUMNS)} and {kinds} a target, found {header}")
    return ValueSpace(tuple(names)), len(TURN_COLUMNS) + 2 * len(names)


def _leading(names: Sequence[str], prefix: str) -> list[str]:
    return list(itertools.takewhile(lambda name: name.startswith(prefix), names))


def _class_row(fields: list[str], labels: LabelSpace, insides: TurnInsides) -> PredictedTurn:
    dialogue_id, turn, speaker, utterance, label, prediction = fields[: len(COLUMNS)]
    for name in (label, prediction) if label else (prediction,):
        labels.index(name)
    probabilities = tuple(_read_number(field, "a probability") for field in fields[len(COLUMNS) :])
    return PredictedTurn(dialogue_id, turn, speaker, utterance, label or None, prediction, probabilities, insides)


def _value_row(fields: list[str], _: ValueSpace, insides: TurnInsides) -> ValuedTurn:
    values = fields[len(TURN_COLUMNS) :]
    labels = tuple(_read_number(field, "a value or nothing") if field else None for field in values[::2])
    predictions = tuple(_read_number(field, "a value") for field in values[1::2])
    return ValuedTurn(*fields[: len(TURN_COLUMNS)], labels, predictions, insides)


def _read_number(field: str, what: str) -> float:
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected {what}, found {field!r}")
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
