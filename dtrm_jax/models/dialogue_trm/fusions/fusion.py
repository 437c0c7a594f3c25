"""The interface of fusions, the types of their inputs, and helpers that they share."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.config import FusionConfig
from dtrm_jax.conversation import MODALITIES

# Modality -> its letter in the paper, in the paper's order.
LETTERS = {name: letter for letter, name in MODALITIES.items()}

Representations = Mapping[str, Float[Array, "U D"]]
Presence = Mapping[str, Bool[Array, " U"]]


class Position(NamedTuple):
    """Where each turn stands, for a fusion that looks at other turns.

    Attributes:
        conversation_U: Conversation ids, -1 in unused slots.
        turn_U: Turn indices.
    """

    conversation_U: Int[Array, " U"]
    turn_U: Int[Array, " U"]


class Fusion(nn.Module):
    """Maps the representations ``r_m`` of two or three modalities to one vector per turn, ``o_i``.

    A modality that a turn lacks takes no part in its fusion.

    Attributes:
        title: Its name in tables.
        has_heads: Whether its attention has ``config.heads`` heads, which then must divide the width.
        names_modalities: Whether the names of its parameters say which modalities they are of, so that those of another
            set of modalities mean the same.
        sees_other_turns: Whether it looks at other turns in reach, whatever the context settings are.
        config: Sizes.
        window: K, for a fusion that sees other turns.
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
        future: F, how many later turns such a fusion sees.
    """

    title: ClassVar[str]
    has_heads: ClassVar[bool] = False
    names_modalities: ClassVar[bool] = False
    sees_other_turns: ClassVar[bool] = False

    config: FusionConfig
    window: int
    dtype: DTypeLike
    remat: bool = False
    future: int = 0

    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Fuses the representations.

        Args:
            r_UxD: Modality -> representations, two or three of them, of one width D.
            present_U: Modality -> whether the turn has it.
            position: Where each turn stands.
            deterministic: No dropout.
        """
        raise NotImplementedError

    @nn.nowrap
    def summarise(self, sown: Mapping[str, Any], present_U: Presence) -> dict[str, Float[Array, " U"]]:
        """Returns numbers on its insides for the report, name -> ``[U]``; nothing by default.

        Args:
            sown: The fusion's part of the collection "intermediates".
            present_U: As in the call.
        """
        return {}


def ordered(modalities: Iterable[str]) -> list[str]:
    """Returns the modalities in the one fixed order: utterance, acoustic, visual."""
    return sorted(modalities, key=list(LETTERS).index)


def zero_absent(r_UxD: Representations, present_U: Presence) -> list[Float[Array, "U D"]]:
    """Returns the representations in the fixed order, with zeros where a turn lacks the modality."""
    return [jnp.where(present_U[name][:, None], r_UxD[name], 0) for name in ordered(r_UxD)]
