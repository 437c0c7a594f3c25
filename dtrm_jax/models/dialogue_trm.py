"""DialogueTRM: the composition, reading like the paper's Figure 2."""

import flax.linen as nn
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
        f_UxD = Bert(self.encoder_config, dtype, remat, name="encoder")(
            batch.token_ids_T,
            batch.position_ids_T,
            batch.segment_ids_T,
            batch.sequence_ids_T,
            self.shape.rows,
            read_U=batch.cls_U,
            deterministic=deterministic,
        )
        r_UxD = IntraModal(self.config.intra_modal, self.window, dtype, remat, name="intra_modal")(
            f_UxD, batch.conversation_U, batch.turn_U, deterministic
        )
        return Discriminator(self.classes, self.config.dropout, dtype, name="discriminator")(r_UxD, deterministic)


def build_model(config: Config, encoder_config: BertConfig, classes: int, shape: PackShape) -> DialogueTRM:
    """Builds the model that ``config`` describes for packs of ``shape``."""
    return DialogueTRM(config.model, encoder_config, config.tokens.window, classes, shape)
