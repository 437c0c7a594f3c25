"""The text encoder of a trained model alone: one vector per utterance, ``f_i`` of eq. 1."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import ModelConfig
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.reading import encode_utterances

PART = "encoder"  # of the parameters of every model that reads text

UtteranceVectors = Callable[[Batch], Float[Array, "U D"]]


class _EncoderAlone(nn.Module):
    """What comes before the intra-modal Transformer."""

    settings: ModelConfig
    encoder: Encoder
    shape: PackShape

    @nn.compact
    def __call__(self, batch: Batch) -> Float[Array, "U D"]:
        module = self.encoder.module(jnp.dtype(self.settings.dtype), remat=False, name=PART)
        f_UxD = encode_utterances(module, batch, self.shape, self.settings.encoder, deterministic=True)
        return f_UxD.astype(jnp.float32)


def make_utterance_vectors(trained: Trained, shape: PackShape) -> UtteranceVectors:
    """Returns the compiled function from a pack of a shape to float32 ``f_i`` of every utterance slot.

    ``f_i`` is the encoder's last state at [CLS], or its mean over the utterance's own tokens
    (``config.model.encoder.pooling``); its attention sees the context of eq. 1 as in training. There is no dropout.

    Args:
        trained: A model that reads text and has the part ``PART``.
        shape: Of the packs.
    """
    module = _EncoderAlone(settings=trained.config.model, encoder=trained.manifest.encoder, shape=shape)
    params = {"params": {PART: trained.params[PART]}}
    run = jax.jit(module.apply)
    return lambda pack: run(params, pack)
