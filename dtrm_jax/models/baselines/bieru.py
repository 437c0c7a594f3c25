"""BiERU: each utterance composed with its context by a bilinear tensor, then an LSTM and a convolution; both ways.

Li, Shao, Ji and Cambria: BiERU: Bidirectional Emotional Recurrent Unit for Conversational Sentiment Analysis,
Neurocomputing 2022 (arXiv 2020).

With ``x_t`` the vectors of all modalities of turn t end to end, in each direction with the same weights::

    u_t = W_x x_t + b_x
    m_t = [c_t; u_t]       local context (BiERU-lc): c_t = u_{t-1};  global (BiERU-gc): c_t = p_{t-1}
    p_t = sigmoid(m_t^T V m_t + W m_t + b)     V is one matrix for each entry of p
    h_t = LSTM(p_t, h_{t-1})
    k_t = convolution of p_t over its entries  one kernel of 5, stride 2, 4 zeros at both ends
    e_t = [h_t; k_t]
    y_t = W_y [forward e_t; backward e_t] + b_y

The first turn of a direction has itself as context.

What the authors' code does otherwise: its V is never trained. It begins as zeros, and every run of the model, in tests
too, replaces it by a new parameter that the optimizer does not know, so that the bilinear term stays zero; 15 % of its
entries are lost at each run for good. The LSTM begins the second direction with the last state of the first. The code
has the local context; the global one is commented out. It selects the epoch by the loss on the test split.

What is different here: V is trained. It begins as zeros too, and loses 15 % of its entries in each step of training, as
dropout does. ``u_t`` is ``x_t`` in their code, whose vectors have the 100 entries of the model's width; here they may
have any number.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.layers.cells import Affine, Cell, LSTMCell, lstm, ways
from dtrm_jax.models.layers.dense import Weights
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.lanes import Lanes
from dtrm_jax.models.layers.recurrence import recur
from dtrm_jax.models.layers.transformer import LINEAR_INIT

# W and b, and V.
Block = tuple[Affine, Float[Array, "I I D"]]


def compose(block: Block, c_UxD: Float[Array, "U D"], u_UxD: Float[Array, "U D"]) -> Float[Array, "U D"]:
    """Returns ``p_t`` of the equations: the generalised neural tensor block.

    Args:
        block: Its parameters.
        c_UxD: Contexts.
        u_UxD: Utterances.
    """
    linear, v_IxIxD = block
    m_UxI = jnp.concatenate([c_UxD, u_UxD], axis=-1)
    size, _, width = v_IxIxD.shape
    m_v_UxIxD = (m_UxI @ v_IxIxD.reshape(size, size * width)).reshape(-1, size, width)
    return jax.nn.sigmoid(jnp.einsum("ui,uid->ud", m_UxI, m_v_UxIxD) + linear(m_UxI))


def _compose_on(block: Block, p_NxD: Array, x: tuple[Array, Array, Array]) -> Array:
    """A step of the global context: composes with what the turn before was composed to."""
    u_NxD, kept_NxD, first_N = x
    return kept_NxD * compose(block, jnp.where(first_N[:, None], u_NxD, p_NxD), u_NxD)


def one_way(
    block: Block, cell: Cell, context: str, u_UxD: Array, kept_UxD: Array, lanes: Lanes
) -> tuple[Float[Array, "U D"], Float[Array, "U D"]]:
    """Returns ``p_t`` and ``h_t`` in one direction.

    Args:
        block: Of ``compose``.
        cell: The LSTM's parameters.
        context: "local" or "global".
        u_UxD: Utterances, in the order of the direction.
        kept_UxD: Dropout of ``p_t``, a factor.
        lanes: Of the direction.
    """
    first_U = lanes.previous_U < 0
    if context == "local":
        p_UxD = kept_UxD * compose(block, jnp.where(first_U[:, None], u_UxD, u_UxD[lanes.previous_U]), u_UxD)
    else:
        p_UxD = recur(_compose_on, block, (u_UxD, kept_UxD, first_U), lanes, jnp.zeros(u_UxD.shape[1]))
    zeros = jnp.zeros(cell.hidden.inputs)
    return p_UxD, recur(lstm, cell.hidden, cell.inputs(p_UxD), lanes, (zeros, zeros))[0]


class BiERU(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "BiERU"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 1e-3,
            "optimizer.warmup_steps": 0,
            "train.class_balance": 1.0,
            "train.epochs": 20,
            "packing.utterances": 50,  # their batch is one conversation, of IEMOCAP
        },
        "meld": {"packing.utterances": 10},
    }

    @classmethod
    def unlike(cls, there: Config, here: Config, parts: Collection[str]) -> dict[str, str]:
        """See ``Baseline.unlike``; returns the tensor block too, where it composes with another kind of context."""
        result, before, now = super().unlike(there, here, parts), there.model.bieru.context, here.model.bieru.context
        if before != now:
            result |= dict.fromkeys(("tensor", "linear"), f"{now} context here, {before} there")
        return result

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.bieru
        drop = Dropout(own.dropout)
        lanes = ways(batch, both=True)
        u_UxD = nn.Dense(own.width, name="utterance")(joined(self.inputs(batch, deterministic=deterministic)))
        u_UxD = jnp.where(lanes.forward.used_U[:, None], u_UxD, 0)
        size = 2 * own.width
        tensor = self.param("tensor", nn.initializers.zeros, (size, size, own.width))
        linear = Affine(*Weights(own.width, LINEAR_INIT, name="linear")(size))
        block = (linear, Dropout(own.tensor_dropout)(tensor, deterministic))
        cell = LSTMCell(own.width, name="lstm")(own.width)
        convolution = nn.Conv(1, (5,), strides=2, padding=4, name="convolution")
        ends = []
        for way, flip in ((lanes.forward, 1), (lanes.backward, -1)):
            kept_UxD = drop(jnp.ones_like(u_UxD), deterministic)
            p_UxD, h_UxD = one_way(block, cell, own.context, u_UxD[::flip], kept_UxD, way)
            k_UxY = convolution(p_UxD[..., None])[..., 0]
            e_UxY = jnp.concatenate([h_UxD, k_UxY], axis=-1)[::flip]
            ends.append(drop(e_UxY, deterministic))
        return nn.Dense(self.outputs, name="output")(jnp.concatenate(ends, axis=-1))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says yes: one direction begins with the last turn."""
        return True
