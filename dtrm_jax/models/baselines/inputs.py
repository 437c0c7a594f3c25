"""What a baseline reads of a pack: one vector per turn and modality."""

import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import ModelConfig
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.reading import encode_utterances

# Modality -> vectors of the turns.
Vectors = dict[str, Float[Array, "U _"]]


def by_modality(
    config: ModelConfig, encoder: Encoder | None, batch: Batch, shape: PackShape, *, deterministic: bool
) -> Vectors:
    """Returns the vectors of each modality of the model, in their fixed order; zeros where a turn lacks one.

    The utterance is a feature (``config.utterance``), or what the encoder reads of the text, with which the model is
    trained end to end. To be called in the model's compact method: the encoder's parameters are the model's "encoder".

    Args:
        config: Modalities, encoder and whether it is used.
        encoder: Its sizes; None if no text is read.
        batch: One pack.
        shape: Its shape.
        deterministic: No dropout.
    """
    result: Vectors = {}
    for letter in config.modalities:
        name = MODALITIES[letter]
        if name in config.feature_modalities:
            result[name] = batch.features_UxM[name]
            continue
        module = encoder.module(jnp.dtype(config.dtype), remat=config.remat, name="encoder")
        read = encode_utterances(module, batch, shape, config.encoder, deterministic=deterministic)
        result[name] = read.astype(jnp.float32)
    return result


def joined(vectors: Vectors) -> Float[Array, "U I"]:
    """Returns the vectors of all modalities end to end."""
    return jnp.concatenate(list(vectors.values()), axis=-1)
