"""DialogueTRM: the composition, reading like the paper's Figure 2."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import Config, EncoderConfig, ModelConfig
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.errors import InputError
from dtrm_jax.models.dialogue_trm.discriminator import Discriminator
from dtrm_jax.models.dialogue_trm.fusions.simple import WITH_HEADS, build_fusion
from dtrm_jax.models.dialogue_trm.intra_modal import FeatureBranch, IntraModal
from dtrm_jax.models.dialogue_trm.representations import Place
from dtrm_jax.models.encoders.bert import Bert
from dtrm_jax.models.encoders.bert_config import BertConfig
from dtrm_jax.models.layers.chunks import in_chunks


class DialogueTRM(nn.Module):
    """Utterance encoder, one intra-modal Transformer a modality, their fusion, discriminator.

    DialogueTRM-U has one modality and no fusion, DialogueTRM-M two or three.

    Attributes:
        config: Model settings.
        encoder_config: Sizes of the utterance encoder; None if the model reads no text.
        width: D.
        window: K.
        outputs: C, classes or real values.
        shape: The pack's static shape.
        segments: Whether the encoder is told the utterance from its context by their segment embeddings.
    """

    config: ModelConfig
    encoder_config: BertConfig | None
    width: int
    window: int
    outputs: int
    shape: PackShape
    segments: bool = True

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        config, dtype = self.config, jnp.dtype(self.config.dtype)
        present_U = presence(config, batch)
        r_UxD = {name: self._represent(name, batch, present_U[name], deterministic) for name in present_U}
        if len(r_UxD) == 1:
            (o_UxD,) = r_UxD.values()
        else:
            fuse = build_fusion(config.fusion, self.window, dtype, config.remat, name="fusion")
            o_UxD = fuse(r_UxD, present_U, Place(batch.conversation_U, batch.turn_U), deterministic)
        return Discriminator(self.outputs, config.dropout, dtype, name="discriminator")(o_UxD, deterministic)

    @nn.nowrap
    def _represent(
        self, modality: str, batch: Batch, present_U: Bool[Array, " U"], deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns ``r_i`` of one modality (section 4.1)."""
        config, dtype, remat = self.config, jnp.dtype(self.config.dtype), self.config.remat
        settings = (config.intra_modal, getattr(config.context, modality), self.window, dtype, remat)
        if modality != "utterance" or config.utterance == "features":
            return FeatureBranch(self.width, *settings, name=modality)(
                batch.features_UxM[modality], present_U, batch.conversation_U, batch.turn_U, deterministic
            )
        bert = Bert(self.encoder_config, dtype, remat, name="encoder")
        f_UxD = encode_utterances(bert, batch, self.shape, config.encoder, deterministic, self.segments)
        return IntraModal(*settings, name="intra_modal")(f_UxD, batch.conversation_U, batch.turn_U, deterministic)


def encode_utterances(
    bert: Bert, batch: Batch, shape: PackShape, config: EncoderConfig, deterministic: bool, segments: bool = True
) -> Float[Array, "U D"]:
    """Returns ``f_i`` (eq. 1) of every utterance slot: the state at its [CLS], or the mean over its own tokens.

    Without ``segments``, context is embedded as if it were the utterance's own; what is read stays the same.
    """
    segment_ids_T = batch.segment_ids_T if segments else jnp.zeros_like(batch.segment_ids_T)
    tokens = (batch.token_ids_T, batch.position_ids_T, segment_ids_T, batch.sequence_ids_T)
    by_cls = config.pooling == "cls"
    if config.chunks > 1:
        f_TxD = in_chunks(bert, tokens, shape.rows, config.chunks, deterministic)
        return f_TxD[batch.cls_U] if by_cls else mean_of_utterance(f_TxD, utterance_of_own(batch), shape.utterances)
    if by_cls:
        return bert(*tokens, shape.rows, read_U=batch.cls_U, deterministic=deterministic)
    read_O, utterance_O = own_tokens(batch, shape)
    f_OxD = bert(*tokens, shape.rows, read_U=read_O, deterministic=deterministic)
    return mean_of_utterance(f_OxD, utterance_O, shape.utterances)


def presence(config: ModelConfig, batch: Batch) -> dict[str, Bool[Array, " U"]]:
    """Returns, for each of the model's modalities in their fixed order, which turns have it; a text is always there."""
    everywhere = jnp.ones(batch.turn_U.shape, bool)
    names = [MODALITIES[letter] for letter in config.modalities]
    text = "utterance" if config.utterance == "encoder" else None
    return {name: everywhere if name == text else batch.present_U[name] for name in names}


def utterance_of_own(batch: Batch) -> Int[Array, " T"]:
    """Returns the utterance slot whose segment 0 each token belongs to; U for all other tokens.

    Segment 0 is the utterance with its [CLS] and [SEP], without context.
    """
    own_T = (batch.segment_ids_T == 0) & (batch.sequence_ids_T >= 0)
    return jnp.where(own_T, batch.sequence_ids_T, batch.turn_U.shape[0])


def own_tokens(batch: Batch, shape: PackShape) -> tuple[Int[Array, " O"] | None, Int[Array, " O"]]:
    """Returns the token slots of all segments 0, None for all slots, and their utterances; U in unused places."""
    utterance_T = utterance_of_own(batch)
    if shape.own_tokens in (0, shape.tokens):
        return None, utterance_T
    own_T = utterance_T < shape.utterances
    (read_O,) = jnp.nonzero(own_T, size=shape.own_tokens, fill_value=0)
    return read_O, jnp.where(jnp.arange(shape.own_tokens) < own_T.sum(), utterance_T[read_O], shape.utterances)


def mean_of_utterance(
    x_PxD: Float[Array, "P D"], utterance_P: Int[Array, " P"], utterances: int
) -> Float[Array, "U D"]:
    """Returns the mean state of each utterance; ``utterance_P`` says whose a state is, ``utterances`` for nobody's.

    Sentence encoders such as all-MiniLM-L6-v2 are trained to be read by their mean; nothing has trained their [CLS].
    """
    # In float32: bfloat16 cannot count beyond 256. Nobody's states go to a slot of their own, which is cut off.
    sums_UxD = jax.ops.segment_sum(x_PxD.astype(jnp.float32), utterance_P, utterances + 1)[:utterances]
    ones_P = jnp.ones(utterance_P.shape, jnp.float32)
    counts_U = jax.ops.segment_sum(ones_P, utterance_P, utterances + 1)[:utterances]
    return (sums_UxD / jnp.maximum(counts_U, 1)[:, None]).astype(x_PxD.dtype)


def build_model(config: Config, encoder_config: BertConfig | None, outputs: int, shape: PackShape) -> DialogueTRM:
    """Builds the model that ``config`` describes for packs of ``shape``.

    Raises:
        InputError: The attention heads of a part do not divide the width.
    """
    model = config.model
    width = model.encoder.hidden_size if encoder_config is None else encoder_config.hidden_size
    heads = {"intra_modal": model.intra_modal.heads} if model.intra_modal.layers else {}
    if encoder_config is not None:
        heads["encoder"] = encoder_config.heads
    if len(model.modalities) > 1 and model.fusion.kind in WITH_HEADS:
        heads["fusion"] = model.fusion.heads
    for part, count in heads.items():
        if not count or width % count:
            raise InputError(f"config.model.{part}.heads: expected a divisor of the width {width}, found {count}")
    tokens = config.tokens
    return DialogueTRM(config.model, encoder_config, width, tokens.window, outputs, shape, tokens.segments)
