"""Intra-modal emotion dynamics (section 4.1): one Transformer per modality, context-dependent or context-free."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.config import IntraModalConfig
from dtrm_jax.models.layers.attention import Drop
from dtrm_jax.models.layers.transformer import LINEAR_INIT, Transformer
from dtrm_jax.models.layers.windowed import WindowedAttention


class IntraModal(nn.Module):
    """``r_i = Transformer(F, rho_i)`` over the utterances of a pack (eq. 2, 4 and 5).

    Attributes:
        config: Sizes.
        context: "dependent" (eq. 3) or "free" (eq. 6).
        window: K of the context-dependent mask (eq. 3).
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
        future: F, how many later turns the context-dependent mask admits; the paper has none.
    """

    config: IntraModalConfig
    context: str
    window: int
    dtype: DTypeLike
    remat: bool = False
    future: int = 0

    @nn.compact
    def __call__(
        self,
        f_UxD: Float[Array, "U D"],
        conversation_U: Int[Array, " U"],
        turn_U: Int[Array, " U"],
        deterministic: bool,
        seen_U: Bool[Array, " U"] | None = None,
    ) -> Float[Array, "U D"]:
        """Returns the representation of every turn, from itself and (context-dependent) the turns in reach.

        Args:
            f_UxD: Vectors of the turns.
            conversation_U: Conversation ids, -1 in unused slots.
            turn_U: Turn indices.
            deterministic: Without dropout.
            seen_U: Which turns may be seen, by others and by themselves. If None, all may.
        """
        config = self.config
        bias_HxK1 = None
        if self.context == "dependent" and config.turn_distance == "learned" and config.layers:
            distances = self.window + 1 + self.future
            bias_HxK1 = self.param("turn_distance", nn.initializers.zeros, (config.heads, distances))

        def dependent(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
            attention = WindowedAttention(self.window, self.future, name="window")
            return attention(q, k, v, conversation_U, turn_U, drop, bias_HxK1, seen_U)

        transformer = Transformer(config=config, dtype=self.dtype, remat=self.remat, name="transformer")
        arrangement = dependent if self.context == "dependent" else _free
        return transformer(f_UxD.astype(self.dtype), arrangement, deterministic)


class FeatureBranch(nn.Module):
    """A modality given as pre-extracted features: ``r_i = Transformer(W f_i + b, rho_i)``.

    Attributes:
        width: D.
        settings: The attributes of its ``IntraModal``.
    """

    width: int
    settings: Mapping[str, Any]

    @nn.compact
    def __call__(
        self,
        features_UxM: Float[Array, "U M"],
        present_U: Bool[Array, " U"],
        conversation_U: Int[Array, " U"],
        turn_U: Int[Array, " U"],
        deterministic: bool,
    ) -> Float[Array, "U D"]:
        """Returns the representation of every turn.

        No turn sees one that lacks the modality; such a turn, whose features are zeros, sees those in reach that have
        it, so that a model of this modality alone knows of it what its conversation says.
        """
        intra_modal = IntraModal(name="intra_modal", **self.settings)
        projection = nn.Dense(self.width, dtype=intra_modal.dtype, kernel_init=LINEAR_INIT, name="projection")
        return intra_modal(projection(features_UxM), conversation_U, turn_U, deterministic, present_U)


def _free(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
    """Eq. 6: softmax over a turn alone is 1, so that no score is computed; dropout acts on that 1, head by head."""
    weights = jnp.ones((*q.shape[:-1], 1), v.dtype)
    return drop(weights) * v, weights
