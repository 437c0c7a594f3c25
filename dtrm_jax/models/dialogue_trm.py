"""DialogueTRM: the composition, reading like the paper's Figure 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.models.bert import Bert
from dtrm_jax.models.bert_config import BertConfig
from dtrm_jax.models.discriminator import Discriminator
from dtrm_jax.models.intra_modal import IntraModal


class DialogueTRM(nn.Module):
    """DialogueTRM-U: utterance encoder, intra-modal Transformer, discriminator.

    Attributes:
        config: Model settings.
        encoder_config: Sizes of the utterance encoder.
        window: K.
        classes: C.
        shape: The pack's static shape.
    """

    config: ModelConfig
    encoder_config: BertConfig
    window: int
    classes: int
    shape: PackShape

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits of every utterance slot of one pack."""
        dtype, remat = jnp.dtype(self.config.dtype), self.config.remat
        by_cls = self.config.encoder.pooling == "cls"
        f = Bert(self.encoder_config, dtype, remat, name="encoder")(
            batch.token_ids_T,
            batch.position_ids_T,
            batch.segment_ids_T,
            batch.sequence_ids_T,
            self.shape.rows,
            read_U=batch.cls_U if by_cls else None,
            deterministic=deterministic,
        )
        f_UxD = f if by_cls else mean_of_utterance(f, batch)
        r_UxD = IntraModal(self.config.intra_modal, self.window, dtype, remat, name="intra_modal")(
            f_UxD, batch.conversation_U, batch.turn_U, deterministic
        )
        return Discriminator(self.classes, self.config.dropout, dtype, name="discriminator")(r_UxD, deterministic)


def mean_of_utterance(x_TxD: Float[Array, "T D"], batch: Batch) -> Float[Array, "U D"]:
    """Returns the mean state of each utterance's segment 0: the utterance with its [CLS] and [SEP], without context.

    With segments switched off (``tokens.segments``) everything is segment 0, so that the context is averaged too.
    Sentence encoders such as all-MiniLM-L6-v2 are trained to be read by their mean; nothing has trained their [CLS].
    """
    utterances = batch.turn_U.shape[0]
    own_T = ((batch.segment_ids_T == 0) & (batch.sequence_ids_T >= 0)).astype(jnp.float32)
    # Unused slots (-1) go to a slot of their own, which is cut off.
    slot_T = jnp.where(batch.sequence_ids_T < 0, utterances, batch.sequence_ids_T)
    # In float32: bfloat16 cannot count beyond 256.
    sums_UxD = jax.ops.segment_sum(x_TxD.astype(jnp.float32) * own_T[:, None], slot_T, utterances + 1)[:utterances]
    counts_U = jax.ops.segment_sum(own_T, slot_T, utterances + 1)[:utterances]
    return (sums_UxD / jnp.maximum(counts_U, 1)[:, None]).astype(x_TxD.dtype)


def build_model(config: Config, encoder_config: BertConfig, classes: int, shape: PackShape) -> DialogueTRM:
    """Builds the model that ``config`` describes for packs of ``shape``."""
    return DialogueTRM(config.model, encoder_config, config.tokens.window, classes, shape)
