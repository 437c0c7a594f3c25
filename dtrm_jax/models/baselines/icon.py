"""ICON: one memory of both sides of a conversation, each side's turns read by a GRU of its own.

Hazarika, Poria, Mihalcea, Cambria and Zimmermann: ICON: Interactive Conversational Memory Network for Multimodal
Emotion Detection, EMNLP 2018.

With ``x_t`` the vectors of all modalities of turn t end to end, j the last K turns before it, and s(j) the side that
turn j is of, the speaker of turn t or the others::

    q = tanh(W x_t + b)
    h_j = GRU_s(j)(x_j)                        over the side's turns in their order, from a state of zeros
    m_j = GRU_global(tanh(h_j))                over all turns
    in every hop:
        q = tanh(q + sum_j softmax_j(tanh(q . m_j)) m_j)
        m_j = GRU_memory(m_j)                  for the next hop
    y_t = W_y q + b_y

In the paper ``tanh(h_j)`` is the tanh of the sum of both sides' states; the authors' code has zeros for the side that
does not speak, and so it is here.

What the authors' code does otherwise: the global GRU and those of the hops also take steps of zeros before the first
turn. "Validation" is a part of the test split. L2 is the mean over the matrices.

What is different here: the cells are PyTorch's GRU. By definition the model knows two sides. Where there are more than
two speakers, all but the one of the turn are the other side; ``model.icon.more_speakers=refuse`` refuses such
conversations.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.baselines.two_sides import PUBLISHED, read, states_of_sides
from dtrm_jax.models.layers.cells import GRUCell
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.histories import Histories, gru_over_history


class ICON(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "ICON"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = PUBLISHED

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.icon
        drop = Dropout(own.dropout)
        x_UxI = joined(self.inputs(batch, deterministic=deterministic))
        histories = Histories(self, x_UxI, batch, own.window)
        seen_KxU, h_KxUxD = histories.seen_KxU, jnp.zeros(())
        for taken_KxU, states_KxUxD in states_of_sides(histories, own.width).values():
            h_KxUxD = jnp.where(taken_KxU[..., None], states_KxUxD, h_KxUxD)
        m_KxUxD = jnp.tanh(drop(h_KxUxD, deterministic))
        cells = [GRUCell(own.width, name=name)(own.width) for name in ("global", "memory")[: own.hops]]
        q_UxD = jnp.tanh(nn.Dense(own.width, name="query")(x_UxI))
        for hop in range(own.hops):
            cell = cells[min(hop, 1)]
            m_KxUxD = gru_over_history(cell, cell.inputs(m_KxUxD), seen_KxU)
            q_UxD = jnp.tanh(q_UxD + read(q_UxD, m_KxUxD, seen_KxU, lambda w: drop(w, deterministic)))
        return nn.Dense(self.outputs, name="output")(q_UxD)

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says no: it knows the past alone."""
        return False
