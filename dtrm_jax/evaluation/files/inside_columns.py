"""The columns of ``predictions.csv`` on what goes on inside the model, after those of the emotions.

A model without one of these parts has no such columns. ``m`` stands for the letter of a modality, u(tterance),
a(coustic) or v(isual).

- ``attended_turn_m``, ``attended_weight_m``, ``attended_self_m``: which earlier turn of the conversation, by its id,
  the context-dependent attention of the modality looks at most, with what weight, and its weight on the turn itself.
  The first two are empty where no earlier turn is seen, all three where the turn lacks the modality.
- ``gate_xy``: the mean value of MGIF's gate between two modalities, from 0 to 1, the share of the first; empty where
  the turn lacks one of the two.
- ``fusion_<position>``: the attention of ``e_CLS`` in MGIF's Transformer on itself (``fusion_e_CLS``) and on each
  gated vector (``fusion_ua``: the utterance's in the pair utterance, acoustic; ``fusion_au``: the acoustic one's), or,
  without gates, on each modality (``fusion_u``); empty where the turn lacks the modality.
- ``inside_<name>``: any other number that a model's ``summarise`` hands out; empty where a turn has none. Where
  ``config.tokens.future`` admits later turns, ``inside_later_m`` is the weight on all of them together.

See ``models.dialogue_trm.insides`` for how they are averaged.
"""

import itertools
from collections.abc import Mapping, Sequence, Set

import numpy as np

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.tasks.interface import number_in
from dtrm_jax.tasks.rows import Attended, TurnInsides

ATTENDED = ("attended_turn_", "attended_weight_", "attended_self_")
GATE = "gate_"
FUSION = "fusion_"
OTHER = "inside_"  # any other number that a model hands out, such as inside_memory

_LETTERS = "".join(MODALITIES)
_PAIRS = list(itertools.combinations(_LETTERS, 2))
_POSITIONS = ("e_CLS", *_LETTERS, *(name for x, y in _PAIRS for name in (x + y, y + x)))
# All the columns that there can be, in the order they are written in.
COLUMNS = (
    *(kind + letter for letter in _LETTERS for kind in ATTENDED),
    *(GATE + x + y for x, y in _PAIRS),
    *(FUSION + position for position in _POSITIONS),
)
_ROUNDING = 1e-3  # by how much a mean of low precision may exceed 1


def ordered(insides: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the names of the existing columns, in the order they are written in."""
    return [*(name for name in COLUMNS if name in insides), *(name for name in insides if name.startswith(OTHER))]


def cells(insides_L: Mapping[str, np.ndarray], ids: Sequence[str]) -> list[list[str]]:
    """Returns the cells of each turn of a conversation, one cell per name of ``ordered``.

    Args:
        insides_L: The model's summary of the ``L`` turns; its names are the columns'.
        ids: Ids of the turns.

    Raises:
        ValueError: A name is no column, or an array does not have one entry per turn.
    """
    check_header(list(insides_L))
    for name, column_L in insides_L.items():
        if len(column_L) != len(ids):
            raise ValueError(f"{name}: expected {len(ids)} turns, found {len(column_L)}")
    columns = [_column(name, insides_L[name], ids) for name in ordered(insides_L)]
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in ids]


def _column(name: str, column_L: np.ndarray, ids: Sequence[str]) -> list[str]:
    if name.startswith(ATTENDED[0]):
        return [ids[index] if index >= 0 else "" for index in column_L]
    # As the probabilities: the shortest decimal that gives the same float32.
    return ["" if np.isnan(value) else str(np.float32(value)) for value in column_L]


def check_header(names: Sequence[str]) -> None:
    """Raises ValueError unless the names are distinct columns of this module, with all three of an attention."""
    unknown = [name for name in names if name not in COLUMNS and not name.startswith(OTHER)]
    if unknown:
        kinds = ", ".join(f"{kind}<m>" for kind in ATTENDED)
        raise ValueError(
            f"expected the columns {kinds}, {GATE}<xy>, {FUSION}<position> or {OTHER}<name> after those of the "
            f"emotions, found {unknown[0]!r}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"expected distinct columns, found {', '.join(names)}")
    for letter in _LETTERS:
        there = [kind + letter in names for kind in ATTENDED]
        if any(there) and not all(there):
            raise ValueError(f"expected all of {', '.join(kind + letter for kind in ATTENDED)}, or none")


def parse(names: Sequence[str], fields: Sequence[str], earlier: Set[str]) -> TurnInsides:
    """Inverts ``cells`` for one turn.

    Args:
        names: The columns, as ``check_header`` admits them.
        fields: The turn's cells.
        earlier: Ids of the conversation's turns before this one, the only ones it can have seen.

    Raises:
        ValueError: A number is not from 0 to 1, or the turn attended to is not an earlier one.
    """
    row = dict(zip(names, fields, strict=True))
    attended = {}
    for letter in _LETTERS:
        if row.get(ATTENDED[2] + letter):
            turn, weight, itself = (row[kind + letter] for kind in ATTENDED)
            if bool(turn) != bool(weight) or (turn and turn not in earlier):
                raise ValueError(f"expected an earlier turn of the conversation and its weight, found {turn!r}")
            attended[letter] = Attended(turn or None, _share(weight) if weight else None, _share(itself))
        elif any(row.get(kind + letter) for kind in ATTENDED):
            raise ValueError(f"expected a number in {ATTENDED[2]}{letter}, found none")
    gates, fusion = (
        {name.removeprefix(kind): _share(cell) for name, cell in row.items() if name.startswith(kind) and cell}
        for kind in (GATE, FUSION)
    )
    numbers = {
        name.removeprefix(OTHER): number_in(cell, "a number")
        for name, cell in row.items()
        if name.startswith(OTHER) and cell
    }
    return TurnInsides(attended=attended, gates=gates, fusion=fusion, numbers=numbers)


def _share(cell: str) -> float:
    number = number_in(cell, expected := "a number from 0 to 1")
    if not 0 <= number <= 1 + _ROUNDING:
        raise ValueError(f"expected {expected}, found {cell!r}")
    return number
