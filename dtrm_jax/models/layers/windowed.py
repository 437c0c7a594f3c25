"""Attention over turns that can go on where an earlier pack of the same conversation ended."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.attention import Drop, Turns, attend_turns, banded_attention
from dtrm_jax.models.layers.memory import goes_on, last_turns


class WindowedAttention(nn.Module):
    """``banded_attention``; in a pack that goes on, the first turns also see the last ones of the pack before.

    The keys and values of the last K turns are its memory. All pairs of a pack that goes on are scored, which for one
    turn is a row of K + 1.

    Attributes:
        window: K.
        future: F; there must be none where a pack goes on.
    """

    window: int
    future: int = 0

    @nn.compact
    def __call__(
        self,
        q_UxHxE: Float[Array, "U H E"],
        k_UxHxE: Float[Array, "U H E"],
        v_UxHxE: Float[Array, "U H E"],
        conversation_U: Int[Array, " U"],
        turn_U: Int[Array, " U"],
        drop: Drop,
        distance_bias_HxK1: Float[Array, "H K1"] | None = None,
        seen_U: Bool[Array, " U"] | None = None,
    ) -> tuple[Float[Array, "U H E"], Float[Array, "B H A W"]]:
        """Returns the attended values and the weights; the arguments are those of ``banded_attention``.

        The weights of a pack that goes on are those of one block, whose keys begin with the K remembered turns.
        """
        if not goes_on(self):
            return banded_attention(
                q_UxHxE,
                k_UxHxE,
                v_UxHxE,
                conversation_U,
                turn_U,
                self.window,
                drop,
                distance_bias_HxK1,
                seen_U,
                self.future,
            )
        if self.future:
            raise ValueError(f"expected attention to no later turn in a pack that goes on, found {self.future}")
        used_U = conversation_U != -1
        new = {
            "keys": k_UxHxE,
            "values": v_UxHxE,
            "conversation": conversation_U,
            "turn": turn_U,
            "seen": used_U if seen_U is None else used_U & seen_U,
        }
        known = last_turns(self, new, self.window, jnp.sum(used_U))
        queries = Turns(q_UxHxE, conversation_U, turn_U)
        keys = Turns(known["keys"], known["conversation"], known["turn"])
        output, weights = attend_turns(
            queries, keys, known["values"], self.window, drop, distance_bias_HxK1, known["seen"], self.future
        )
        return output, weights[None]
