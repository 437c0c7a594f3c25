"""Intra-modal emotion dynamics (section 4.1): one Transformer a modality, context-dependent or context-free."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dtrm_jax.config import IntraModalConfig
from dtrm_jax.models.attention import Drop, banded_attention
from dtrm_jax.models.transformer import Transformer


class IntraModal(nn.Module):
    """``r_i = Transformer(F, rho_i)`` over the utterances of a pack (eq. 2, 4 and 5).

    Attributes:
        config: Sizes and context setting.
        window: K of the context-dependent mask (eq. 3).
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
    """

    config: IntraModalConfig
    window: int
    dtype: jnp.dtype
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        f_UxD: Float[Array, "U D"],
        conversation_U: Int[Array, " U"],
        turn_U: Int[Array, " U"],
        deterministic: bool,
    ) -> Float[Array, "U D"]:
        """Returns the representation of every turn, from itself and (context-dependent) the K turns before it."""
        config = self.config
        bias_HxK1 = None
        if config.context == "dependent" and config.turn_distance == "learned" and config.layers:
            bias_HxK1 = self.param("turn_distance", nn.initializers.zeros, (config.heads, self.window + 1))

        def dependent(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
            return banded_attention(q, k, v, conversation_U, turn_U, self.window, drop, bias_HxK1)

        transformer = Transformer(
            config.layers,
            config.heads,
            config.feed_forward,
            config.dropout,
            self.dtype,
            self.remat,
            name="transformer",
        )
        arrangement = dependent if config.context == "dependent" else _free
        return transformer(f_UxD.astype(self.dtype), arrangement, deterministic)


def _free(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
    """Eq. 6: softmax over a turn alone is 1, so that no score is computed; dropout acts on that 1, head by head."""
    weights = jnp.ones((*q.shape[:-1], 1), v.dtype)
    return drop(weights) * v, weights
