"""What every fusion is given: the modalities' representations, which turns have them, and where the turns stand."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dtrm_jax.conversation import MODALITIES

# Modality -> its letter in the paper, in the paper's order.
LETTERS = {name: letter for letter, name in MODALITIES.items()}

Representations = Mapping[str, Float[Array, "U D"]]
Presence = Mapping[str, Bool[Array, " U"]]


class Place(NamedTuple):
    """Where each turn stands; of use to a fusion that looks at other turns, and to no other.

    Attributes:
        conversation_U: Conversation ids, -1 in unused slots.
        turn_U: Turn indices.
    """

    conversation_U: Int[Array, " U"]
    turn_U: Int[Array, " U"]


def ordered(modalities: Iterable[str]) -> list[str]:
    """Returns the modalities in the one fixed order: utterance, acoustic, visual."""
    return sorted(modalities, key=list(LETTERS).index)


def zero_absent(r_UxD: Representations, present_U: Presence) -> list[Float[Array, "U D"]]:
    """Returns the representations in the fixed order, zeros where a turn lacks the modality."""
    return [jnp.where(present_U[name][:, None], r_UxD[name], 0) for name in ordered(r_UxD)]
