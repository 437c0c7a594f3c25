"""Matching attention: every turn attends to the turns of its conversation, earlier and later ones."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.neighbours import Neighbours


class MatchingAttention(nn.Module):
    """``a_ij = softmax_j(tanh(m_j . (W m_i + b)))``, ``sum_j a_ij m_j``: "general2" of the conv-emotion models.

    Their code computes the softmax over padding too and renormalises it over the turns, which is the softmax over the
    turns.

    Attributes:
        window: How many turns it reaches in both directions.
        squash: Whether the score goes through tanh.
    """

    window: int
    squash: bool = True

    @nn.compact
    def __call__(
        self, m_UxD: Float[Array, "U D"], conversation_U: Int[Array, " U"], turn_U: Int[Array, " U"]
    ) -> Float[Array, "U D"]:
        """Returns what every turn attends to.

        Args:
            m_UxD: Vectors of the turns.
            conversation_U: Conversation ids, -1 in unused slots. The turns of a conversation lie side by side.
            turn_U: Turn indices.
        """
        q_UxD = nn.Dense(m_UxD.shape[-1], name="query")(m_UxD)
        near = Neighbours(conversation_U, turn_U, self.window, self.window)
        scores = near.products(q_UxD, m_UxD)
        return near.sums(near.softmax(jnp.tanh(scores) if self.squash else scores), m_UxD)
