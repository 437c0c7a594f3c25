"""c-LSTM and bc-LSTM: an LSTM over the turns, blind to who speaks.

Poria, Cambria, Hazarika, Majumder, Zadeh and Morency: Context-Dependent Sentiment Analysis in User-Generated Videos,
ACL 2017. The numbers in the paper's tables are of the bidirectional one (bc-LSTM), as DialogueRNN's authors ran it.

With ``x_t`` the vectors of all modalities of turn t end to end::

    h_t = LSTM(x_t, h_{t-1})               in each direction, several layers
    a_t = sum_j softmax_j(tanh(h_j . (W h_t + b))) h_j      if there is attention; else a_t = h_t
    y_t = W_y relu(W_h a_t + b_h) + b_y

With hierarchical fusion, ``x_t`` are the states of one LSTM per modality instead. c-LSTM-U has one modality, c-LSTM-M
several.

What is different: the authors train the hierarchy level by level, here it is trained as one; LSTMs of separate
modalities and the LSTM above have the same width. Their later code (conv-emotion), whose sizes are the defaults, joins
the modalities' vectors. In it, dropout also falls between the layers of the LSTM; so it does here. On MELD, its LSTM is
100 wide; the 300 that are the default there are those of the baseline that MELD's authors published, whose training is
another.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.layers.cells import Bidirectional, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.matching import MatchingAttention


class CLSTM(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "c-LSTM"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 1e-5,
            "optimizer.warmup_steps": 0,
            "train.epochs": 60,
            "packing.utterances": 1500,  # their batch is 32 conversations, of IEMOCAP
        },
        "meld": {"model.c_lstm.width": 300, "packing.utterances": 320},
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.c_lstm
        vectors = self.inputs(batch, deterministic=deterministic)
        lanes = ways(batch, both=own.bidirectional)

        def layer(x_UxI: Array, name: str) -> Array:
            return Bidirectional("lstm", own.width, own.bidirectional, name=name)(x_UxI, lanes)

        if own.hierarchical:
            vectors = {name: layer(x_UxM, f"{name}_layer") for name, x_UxM in vectors.items()}
        h_UxD = joined(vectors)
        for index in range(own.layers):
            if index:
                h_UxD = Dropout(own.dropout)(h_UxD, deterministic)
            h_UxD = layer(h_UxD, f"layer_{index}")
        if own.attention == "general2":
            attention = MatchingAttention(own.attention_window, name="attention")
            h_UxD = attention(h_UxD, batch.conversation_U, batch.turn_U)
        hidden_UxD = jax.nn.relu(nn.Dense(own.hidden, name="hidden")(h_UxD))
        return nn.Dense(self.outputs, name="output")(Dropout(own.dropout)(hidden_UxD, deterministic))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says so of the second direction and of attention over all turns."""
        return config.c_lstm.bidirectional or config.c_lstm.attention != "none"
