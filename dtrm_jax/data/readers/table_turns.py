"""From the rows of a table to conversations, with labels or without."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtrm_jax.conversation import LARGEST_VALUE, Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.data.readers.columns import VALUE_PREFIX
from dtrm_jax.data.readers.table_rows import Row, Table
from dtrm_jax.errors import InputError

WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)  # a whole number; longer ones are names


def conversations(
    table: Table, labels: LabelSpace | ValueSpace | None, features: Mapping[str, np.ndarray] | None = None
) -> tuple[Conversation, ...]:
    """Returns the conversations of a table; they and their turns are in the order in which their rows appear.

    Args:
        table: The rows.
        labels: The label space of the turns; if None, labels and values are left out.
        features: Feature name -> float32 ``[N, M]``, one row per row of the table.

    Raises:
        InputError: A turn is there twice, has neither text nor features, another label or a value that is no finite
            number; names the row.
    """
    features = features or {}
    turns: dict[str, dict[str, Turn]] = {}
    places: dict[str, list[int]] = {}
    for place, row in enumerate(table.rows):
        conversation, id = row.values["conversation"], row.values["turn"]
        own = turns.setdefault(conversation, {})
        if id in own:
            raise InputError(f"{table.at(row)}: conversation {conversation!r} has turn {id!r} twice")
        own[id] = Turn(
            id=id,
            speaker=row.values["speaker"],
            text=_text(table, row, optional=bool(features)),
            label=class_of(table, row, labels.names) if isinstance(labels, LabelSpace) else None,
            values=_values(table, row, labels.names) if isinstance(labels, ValueSpace) else (),
        )
        places.setdefault(conversation, []).append(place)
    return tuple(
        Conversation(name, tuple(own.values()), {key: array[places[name]] for key, array in features.items()})
        for name, own in turns.items()
    )


def class_of(table: Table, row: Row, names: tuple[str, ...], origin: str = "", *, positions: bool = True) -> str | None:
    """Returns the class of a turn, None if it has none.

    A whole number is a position in ``names``, from 0, unless they are numbers themselves.

    Args:
        table: The row's table, for the error.
        row: The turn.
        names: The classes.
        origin: Where they are listed, for the error; if it is empty, it lists them.
        positions: Whether a whole number may be a position at all.

    Raises:
        InputError: The label is none of them.
    """
    label = row.values.get("label")
    if label is None or label in names:
        return label
    if positions and _is_position(label, names):
        return names[int(label)]
    raise InputError(f"{table.at(row)}: expected a label of {origin or ', '.join(names)}, found {label[:40]!r}")


def _is_position(label: str, names: tuple[str, ...]) -> bool:
    """Whether a label is a whole number that stands for one of ``names``."""
    if not WHOLE.fullmatch(label) or any(map(WHOLE.fullmatch, names)):
        return False
    return 0 <= int(label) < len(names)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold; True and False are none."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def _text(table: Table, row: Row, optional: bool) -> str:
    text = row.values.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f"{table.at(row)}: expected text, found {repr(text)[:40]}")
    if not (text or "").strip() and not optional:
        raise InputError(f"{table.at(row)}: text is empty, and there are no features instead")
    return text or ""


def _values(table: Table, row: Row, names: tuple[str, ...]) -> tuple[float | None, ...]:
    result = []
    for name in names:
        value = row.values.get(VALUE_PREFIX + name)
        if value is not None and not (is_number(value) and abs(value) <= LARGEST_VALUE):
            expected = f"a number from {-LARGEST_VALUE:g} to {LARGEST_VALUE:g}"
            raise InputError(f"{table.at(row)}: {VALUE_PREFIX}{name}: expected {expected}, found {repr(value)[:40]}")
        result.append(None if value is None else float(value))
    return tuple(result)
