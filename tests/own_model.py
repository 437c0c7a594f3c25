"""A model of one's own, as somebody would write it who knows no more than ``models.interface``."""

import flax.linen as nn
import jax.numpy as jnp

from dtrm_jax.models.encoders.reading import mean_of_utterance
from dtrm_jax.models.interface import Model


class BagOfWords(Model):
    """The mean of an utterance's word vectors and a vector of its speaker, through one hidden layer."""

    outputs: int
    vocabulary: int
    width: int

    @nn.compact
    def __call__(self, batch, *, deterministic):
        words_TxD = nn.Embed(self.vocabulary, self.width, name="encoder")(batch.token_ids_T)
        owner_T = jnp.where(batch.sequence_ids_T >= 0, batch.sequence_ids_T, self.shape.utterances)
        text_UxD = mean_of_utterance(words_TxD, owner_T, self.shape.utterances)
        speaker_UxD = nn.Embed(5, self.width, name="speakers")(jnp.clip(batch.speaker_U, 0, 4))
        return nn.Dense(self.outputs, name="output")(jnp.tanh(text_UxD + speaker_UxD))

    @nn.nowrap
    def summarise(self, sown, pack):
        owner_T = jnp.where(pack.sequence_ids_T >= 0, pack.sequence_ids_T, self.shape.utterances)
        return {"inside_words": jnp.bincount(owner_T, length=self.shape.utterances).astype(float)}

    @classmethod
    def is_causal(cls, config):
        return not config.tokens.reads_later

    @classmethod
    def build(cls, config, *, encoder, outputs, shape):
        width = config.model.encoder.hidden_size
        return cls(shape=shape, outputs=outputs, vocabulary=encoder.vocab_size, width=width)
