"""TL-ERC: a GRU over the encoder's vectors of utterances, which may begin with what a generative model has learned.

Hazarika, Poria, Zimmermann and Mihalcea: Conversational Transfer Learning for Emotion Recognition, Information Fusion
2021 (arXiv 2019).

With ``f_t`` what the encoder makes of the text of turn t::

    h_t = GRU(f_t, h_{t-1})
    d_t = tanh(W_d h_t + b_d)
    y_t = W_y d_t + b_y

``train.init_from`` of a run of ``hred`` takes over the encoder, the GRU and ``W_d``, which that model has trained to
generate what is said next.

What the authors' code does otherwise: it takes over the GRU's matrix of the state and ``W_d``, not the matrix of the
inputs, as their generative model reads words by another encoder; ``f_t`` is the mean of [CLS] after the first four
layers of BERT, whose other layers are not trained (nor used).

What is different here: ``f_t`` is what any configured encoder yields after its last layer, and all layers are trained;
utterance vectors will do in its place. The authors stop after 10 epochs without a better dev score, of at most 500.
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
from dtrm_jax.models.layers.cells import Recurrent, ways
from dtrm_jax.models.layers.dropout import Dropout


def conversation_states(
    f_UxI: Float[Array, "U I"], batch: Batch, width: int, dropout: float, deterministic: bool
) -> Float[Array, "U D"]:
    """Returns ``d_t`` of the equations; its layers are the calling module's "context" and "to_decoder".

    Args:
        f_UxI: Vectors of the utterances.
        batch: The pack.
        width: D.
        dropout: Of ``h_t``.
        deterministic: No dropout.
    """
    h_UxD = Recurrent("gru", width, name="context")(f_UxI, ways(batch, both=False))
    h_UxD = Dropout(dropout)(h_UxD, deterministic)
    return jnp.tanh(nn.Dense(width, name="to_decoder")(h_UxD))


class TLERC(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "TL-ERC"
    streams: ClassVar[bool] = True
    shares: ClassVar[Mapping[str, frozenset[str]]] = {"hred": frozenset({"context", "to_decoder"})}
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "tokens.indi_context": False,
            "tokens.max_length": 30,
            "optimizer.encoder_learning_rate": 1e-4,
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 0.0,
            "optimizer.warmup_steps": 0,
            "optimizer.gradient_clip": 1.0,
            "train.epochs": 50,
            "train.patience": 10,
            "packing.utterances": 100,  # their batch is 2 conversations, of IEMOCAP
        },
        "meld": {"packing.utterances": 20},
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.tl_erc
        f_UxI = joined(self.inputs(batch, deterministic=deterministic))
        d_UxD = conversation_states(f_UxI, batch, own.width, own.dropout, deterministic)
        return nn.Dense(self.outputs, name="output")(d_UxD)

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says no: the GRU knows the past alone."""
        return False
