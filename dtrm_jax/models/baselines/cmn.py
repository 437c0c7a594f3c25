"""CMN: memories of what the speaker and what the other side said, read in several hops.

Hazarika, Poria, Zadeh, Cambria, Morency and Zimmermann: Conversational Memory Network for Emotion Recognition in Dyadic
Dialogue Videos, NAACL 2018.

With ``x_t`` the vectors of all modalities of turn t end to end, and for both sides s, the speaker of turn t and the
others, the turns j of that side among the last K::

    q = tanh(W x_t + b)
    m_sj = GRU'_s(tanh(GRU_s(x_j)))            over the side's turns in their order, both from a state of zeros
    in every hop:
        o_s = sum_j softmax_j(tanh(q . m_sj)) m_sj                                       for both sides
        q = tanh(q + o_own + o_others)
        m_sj = GRU'_s(m_sj)                                                              for the next hop
    y_t = W_y q + b_y

What the authors' code does otherwise: every hop encodes the states of the first GRU anew, not the memories of the hop
before, so that all hops read the same; a softmax runs over the turns of both sides, of which one side's memories are
zeros; the second GRU also takes steps of zeros where the other side speaks, and before the first turn. "Validation" is
60 % of the test split. L2 is the mean over the matrices.

What is different here: the cells are PyTorch's GRU. By definition the model knows two sides. Where there are more than
two speakers, all but the one of the turn are the other side; ``model.cmn.more_speakers=refuse`` refuses such
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


class CMN(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "CMN"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = PUBLISHED

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.cmn
        drop = Dropout(own.dropout)
        x_UxI = joined(self.inputs(batch, deterministic=deterministic))
        histories = Histories(self, x_UxI, batch, own.window)
        sides = states_of_sides(histories, own.width)
        memories, again = {}, {}
        for name, (_, states_KxUxD) in sides.items():
            memories[name] = jnp.tanh(drop(states_KxUxD, deterministic))
            again[name] = GRUCell(own.width, name=f"{name}_memory")(own.width)
        q_UxD = jnp.tanh(nn.Dense(own.width, name="query")(x_UxI))
        for _ in range(own.hops):
            read_of = []
            for name, (taken_KxU, _) in sides.items():
                memories[name] = gru_over_history(again[name], again[name].inputs(memories[name]), taken_KxU)
                read_of.append(read(q_UxD, memories[name], taken_KxU, lambda w: drop(w, deterministic)))
            q_UxD = jnp.tanh(q_UxD + sum(read_of))
        return nn.Dense(self.outputs, name="output")(q_UxD)

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says no: it knows the past alone."""
        return False
