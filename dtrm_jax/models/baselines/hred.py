"""HRED: a model that learns from conversations without labels, by generating what is said next.

Sordoni, Bengio, Vahabi, Lioma, Simonsen and Nie: A Hierarchical Recurrent Encoder-Decoder for Generative Context-Aware
Query Suggestion, CIKM 2015. It is not trained for its own sake: TL-ERC begins with its parameters.

With ``d_t`` as in ``tl_erc``, and ``w_0, w_1, ...`` the tokens of turn t + 1, of which the first one is [CLS] and the
last one [SEP]::

    s_0 = d_t
    s_k = GRU_decoder(E w_{k-1}, s_{k-1})
    P(w_k) = softmax(W_o s_k + b_o)

The loss of a turn is the mean of ``-log P(w_k)`` over its first ``tokens`` tokens; a conversation's last turn has none.

What is different here: utterances are read by the configured encoder, the one that TL-ERC will use, and not by a GRU
over words; the tokens are the encoder's.

The outputs are zeros: there is one class, and nothing to predict. No dev score can choose a checkpoint, so that the
last one is taken.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.conversation import NO_LABELS
from dtrm_jax.errors import InputError
from dtrm_jax.models.baselines.inputs import by_modality, joined
from dtrm_jax.models.baselines.tl_erc import conversation_states
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.interface import Model
from dtrm_jax.models.layers.auxiliary import AUXILIARY
from dtrm_jax.models.layers.cells import Affine, GRUCell, gru
from dtrm_jax.models.layers.dense import Weights
from dtrm_jax.models.layers.transformer import LINEAR_INIT


def next_utterances(batch: Batch, tokens: int) -> tuple[Int[Array, "U X"], Bool[Array, "U X"]]:
    """Returns the tokens of the utterance after each, from [CLS] to [SEP], and which of them there are.

    Args:
        batch: A pack with tokens.
        tokens: How many are returned at most, besides the first.
    """
    turns, slots = batch.cls_U.shape[0], batch.token_ids_T.shape[0]
    slot_UxX = batch.cls_U[:, None] + jnp.arange(tokens + 1)
    inside_UxX = slot_UxX < slots
    slot_UxX = jnp.where(inside_UxX, slot_UxX, 0)
    own_UxX = jnp.asarray(batch.sequence_ids_T)[slot_UxX] == jnp.arange(turns)[:, None]
    own_UxX &= inside_UxX & jnp.asarray(batch.own_T)[slot_UxX]
    goes_on_U = (batch.conversation_U[1:] == batch.conversation_U[:-1]) & (batch.conversation_U[1:] != -1)
    token_UxX = jnp.asarray(batch.token_ids_T)[slot_UxX]
    nothing = jnp.zeros_like(token_UxX[:1])
    there_UxX = jnp.concatenate([own_UxX[1:] & goes_on_U[:, None], nothing.astype(bool)])
    return jnp.concatenate([token_UxX[1:], nothing]), there_UxX


class Decoder(nn.Module):
    """``-log P(w_k)`` of the equations.

    Attributes:
        vocabulary: How many tokens there are.
        embedding: Width of E.
    """

    vocabulary: int
    embedding: int

    @nn.compact
    def __call__(
        self, d_UxD: Float[Array, "U D"], token_UxX: Int[Array, "U X"], there_UxX: Bool[Array, "U X"]
    ) -> Float[Array, " U"]:
        """Returns the mean over the tokens of each utterance after the first; zeros where there is none.

        Args:
            d_UxD: The initial states.
            token_UxX: The tokens.
            there_UxX: Which of them there are; they come first.
        """
        width = d_UxD.shape[-1]
        cell = GRUCell(width, name="cell")(self.embedding)
        output = Affine(*Weights(self.vocabulary, LINEAR_INIT, name="output")(width))
        words_UxXxE = nn.Embed(self.vocabulary, self.embedding, name="words")(token_UxX[:, :-1])

        @jax.checkpoint  # the logits of one step alone are in memory
        def step(s_UxD: Array, of_token: tuple[Array, Array]) -> tuple[Array, Array]:
            projected_UxY, next_U = of_token
            s_UxD = gru(cell.hidden, s_UxD, projected_UxY)
            log_p_UxV = jax.nn.log_softmax(output(s_UxD))
            return s_UxD, -jnp.take_along_axis(log_p_UxV, next_U[:, None], axis=-1)[:, 0]

        by_step = jnp.moveaxis(cell.inputs(words_UxXxE), 1, 0), token_UxX[:, 1:].T
        _, losses_XxU = jax.lax.scan(step, d_UxD, by_step)
        there_XxU = there_UxX[:, 1:].T
        return jnp.where(there_XxU, losses_XxU, 0).sum(axis=0) / jnp.maximum(there_XxU.sum(axis=0), 1)


class HRED(Model):
    """Learns to say what comes next.

    Attributes:
        config: Settings of the model.
        encoder: Sizes of the utterance encoder.
        outputs: C.
    """

    config: ModelConfig
    encoder: Encoder
    outputs: int

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns zeros for every utterance slot of one pack; sows the losses of what is said next."""
        own = self.config.tl_erc
        vectors = by_modality(self.config, self.encoder, batch, self.shape, deterministic=deterministic)
        d_UxD = conversation_states(joined(vectors), batch, own.width, own.dropout, deterministic)
        if self.is_mutable_collection(AUXILIARY):
            decoder = Decoder(self.encoder.vocab_size, own.embedding, name="decoder")
            self.sow(AUXILIARY, "next", decoder(d_UxD, *next_utterances(batch, own.tokens)))
        return jnp.zeros((len(d_UxD), self.outputs))

    @nn.nowrap
    def auxiliary_losses(
        self,
        sown: Mapping[str, Any],
        output_UxC: Float[Array, "U C"],
        pack: Batch,
        loss: Callable[[Float[Array, "U C"], Batch], Float[Array, ""]],
    ) -> dict[str, Float[Array, ""]]:
        """See ``Model.auxiliary_losses``: the loss of what is said next."""
        return {"next": sown["next"][0].sum()}

    @classmethod
    def check(cls, config: Config) -> None:
        """Raises InputError for data with labels, for choosing a checkpoint, and for models that read no text.

        Nor may the encoder read a later turn.
        """
        if config.data.labels != NO_LABELS:
            raise InputError(
                f"config.data.labels: expected {NO_LABELS}, as hred learns from what is said alone, found "
                f"{config.data.labels or 'nothing'}"
            )
        if not config.train.select_last:
            raise InputError(
                "config.train.select_last: expected True, as no dev score can choose for hred, found False"
            )
        if config.model.modalities != "u" or not config.model.reads_text:
            raise InputError(
                "config.model: expected modalities=u and utterance=encoder, as hred generates text, found "
                f"modalities={config.model.modalities} and utterance={config.model.utterance}"
            )
        if config.tokens.reads_later:
            raise InputError(
                "config.tokens.future: expected 0, as hred would read the utterance that it must generate, found "
                f"{config.tokens.future}"
            )

    @classmethod
    def is_causal(cls, config: Config) -> bool:
        """See ``Model.is_causal``."""
        return not config.tokens.reads_later

    @classmethod
    def build(cls, config: Config, *, encoder: Encoder | None, outputs: int, shape: PackShape) -> "HRED":
        """See ``Model.build``."""
        return cls(shape=shape, config=config.model, encoder=encoder, outputs=outputs)
