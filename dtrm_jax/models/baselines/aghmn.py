"""AGHMN: memories of the past that know of each other, summed up by a GRU whose update gate is attention.

Jiao, Lyu and King: Real-Time Emotion Recognition via Attention Gated Hierarchical Memory Network, AAAI 2020.

With ``x_t`` the vectors of all modalities of turn t end to end, and j the last K turns before it in their order::

    u_t = tanh(W x_t + b)
    f_j = GRU_f(u_j, f_{j-1})                  from a state of zeros
    b_j = GRU_b(u_j, b_{j+1})                  with bif alone
    m_j = u_j + f_j + b_j
    q = u_t
    in every hop:
        a_j = softmax_j(q . m_j)
        r_j = sigmoid(W_r m_j + U_r h_{j-1}),  n_j = tanh(W_n m_j + r_j U_n h_{j-1})
        h_j = a_j n_j + (1 - a_j) h_{j-1}      from a state of zeros
        q = q + h_K                            with biagru also the last state of a second one that begins with turn K
    y_t = W_y q + b_y

The paper's best are BiF-AGRU and UniF-BiAGRU; its name for K is the context window.

What the authors' code does otherwise: where fewer than K turns come before, the fusing GRUs first take steps of zeros,
which biases make felt. The conversation's first turn has no dropout after the hops.

What is different here: the authors read each utterance's words with a BiGRU over word2vec and the largest of its states
in every dimension, ``x_t``. Here it is the utterance's vector or the encoder's. Their rate falls by 5 % after each
epoch without a better dev score, here to zero along a line.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.layers.cells import Affine, GRUCell
from dtrm_jax.models.layers.dense import Weights
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.histories import Histories, attend, gru_over_history, over_history


def _attention_gru(weights: Affine, h_UxD: Array, of_turn: tuple[Array, Array]) -> Array:
    """Returns ``h_j`` of the equations, from ``W m_j`` and ``a_j``."""
    projected_UxY, a_U = of_turn
    x_r, x_n = jnp.split(projected_UxY, 2, axis=-1)
    h_r, h_n = jnp.split(weights(h_UxD), 2, axis=-1)
    n_UxD = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
    return a_U[:, None] * n_UxD + (1 - a_U[:, None]) * h_UxD


class AttentionGRU(nn.Module):
    """Sums up histories: the last ``h_j`` of the equations.

    Attributes:
        backward: Whether it begins with the newest turn.
    """

    backward: bool

    @nn.compact
    def __call__(
        self, m_KxUxD: Float[Array, "K U D"], a_KxU: Float[Array, "K U"], seen_KxU: Bool[Array, "K U"]
    ) -> Float[Array, "U D"]:
        """Returns the last states.

        Args:
            m_KxUxD: Memories.
            a_KxU: Attention to them.
            seen_KxU: Which of them there are.
        """
        width = m_KxUxD.shape[-1]
        normal = nn.initializers.variance_scaling(1.0, "fan_in", "normal")  # Xavier's, of square matrices
        inputs, hidden = (Affine(*Weights(2 * width, normal, name=name)(width)) for name in ("inputs", "hidden"))
        x = (inputs(m_KxUxD), a_KxU)
        h_KxUxD = over_history(_attention_gru, hidden, x, seen_KxU, width, backward=self.backward)
        return h_KxUxD[0 if self.backward else -1]


class AGHMN(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "AGHMN"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 5e-4,
            "optimizer.weight_decay": 0.0,
            "optimizer.warmup_steps": 0,
            "optimizer.gradient_clip": 5.0,
            "train.epochs": 60,
            "packing.utterances": 50,  # their batch is one conversation, of IEMOCAP
        },
        "meld": {"train.class_balance": 0.5, "train.epochs": 20, "packing.utterances": 10},
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.aghmn
        drop = Dropout(own.dropout)
        x_UxI = joined(self.inputs(batch, deterministic=deterministic))
        u_UxD = drop(jnp.tanh(nn.Dense(own.width, name="utterance")(x_UxI)), deterministic)
        histories = Histories(self, u_UxD, batch, own.window)
        seen_KxU = histories.seen_KxU
        m_KxUxD = histories.near(histories.x_XxI)
        for name in ("forward", "backward")[: 2 if own.fusion == "bif" else 1]:
            cell = GRUCell(own.width, name=name)(own.width)
            projected_KxUxY = histories.near(cell.inputs(histories.x_XxI))
            m_KxUxD += gru_over_history(cell, projected_KxUxY, seen_KxU, backward=name == "backward")
        m_KxUxD = drop(m_KxUxD, deterministic)
        q_UxD = u_UxD
        for hop in range(own.hops):
            a_KxU = attend(jnp.einsum("ud,kud->ku", q_UxD, m_KxUxD), seen_KxU)
            q_UxD += AttentionGRU(backward=False, name=f"summary_{hop}")(m_KxUxD, a_KxU, seen_KxU)
            if own.summary == "biagru":
                q_UxD += AttentionGRU(backward=True, name=f"summary_{hop}_backward")(m_KxUxD, a_KxU, seen_KxU)
            q_UxD = drop(q_UxD, deterministic)
        return nn.Dense(self.outputs, name="output")(q_UxD)

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says no: both directions run over the past."""
        return False
