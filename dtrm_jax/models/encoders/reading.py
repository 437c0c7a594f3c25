"""From the states of tokens to one vector per utterance, ``f_i`` of eq. 1."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import EncoderConfig
from dtrm_jax.models.layers.chunks import in_chunks


def encode_utterances(
    encoder: nn.Module,
    batch: Batch,
    shape: PackShape,
    config: EncoderConfig,
    *,
    deterministic: bool,
) -> Float[Array, "U D"]:
    """Returns ``f_i`` (eq. 1) of every utterance slot: the state at its [CLS], or the mean over its own tokens.

    Args:
        encoder: A module with the call of ``encoders.bert.Bert``.
        batch: One pack.
        shape: Its shape.
        config: Pooling and chunks.
        deterministic: No dropout.
    """
    tokens = (batch.token_ids_T, batch.position_ids_T, batch.segment_ids_T, batch.sequence_ids_T)
    by_cls = config.pooling == "cls"
    if config.chunks > 1:
        f_TxD = in_chunks(encoder, tokens, shape.rows, config.chunks, deterministic)
        return f_TxD[batch.cls_U] if by_cls else mean_of_utterance(f_TxD, utterance_of_own(batch), shape.utterances)
    if by_cls:
        return encoder(*tokens, shape.rows, read_O=batch.cls_U, deterministic=deterministic)
    read_O, utterance_O = own_slots(batch, shape)
    f_OxD = encoder(*tokens, shape.rows, read_O=read_O, deterministic=deterministic)
    return mean_of_utterance(f_OxD, utterance_O, shape.utterances)


def utterance_of_own(batch: Batch) -> Int[Array, " T"]:
    """Returns each own token's (``Batch.own_T``) utterance slot, and U for all other tokens."""
    return jnp.where(batch.own_T, batch.sequence_ids_T, batch.turn_U.shape[0])


def own_slots(batch: Batch, shape: PackShape) -> tuple[Int[Array, " O"] | None, Int[Array, " O"]]:
    """Returns the token slots of all own tokens, or None for all slots, and their utterances; U in unused places."""
    utterance_T = utterance_of_own(batch)
    if shape.own_tokens in (0, shape.tokens):
        return None, utterance_T
    (read_O,) = jnp.nonzero(batch.own_T, size=shape.own_tokens, fill_value=0)
    used_O = jnp.arange(shape.own_tokens) < batch.own_T.sum()
    return read_O, jnp.where(used_O, utterance_T[read_O], shape.utterances)


def mean_of_utterance(
    x_OxD: Float[Array, "O D"], utterance_O: Int[Array, " O"], utterances: int
) -> Float[Array, "U D"]:
    """Returns the mean state of each utterance.

    Sentence encoders such as all-MiniLM-L6-v2 are trained for their mean state to be used; their [CLS] is untrained.

    Args:
        x_OxD: States.
        utterance_O: The utterance that each state belongs to, or U if none.
        utterances: U.
    """
    # In float32: bfloat16 cannot count beyond 256. States of no utterance go to a slot of their own, which is cut off.
    sums_UxD = jax.ops.segment_sum(x_OxD.astype(jnp.float32), utterance_O, utterances + 1)[:utterances]
    ones_O = jnp.ones(utterance_O.shape, jnp.float32)
    counts_U = jax.ops.segment_sum(ones_O, utterance_O, utterances + 1)[:utterances]
    return (sums_UxD / jnp.maximum(counts_U, 1)[:, None]).astype(x_OxD.dtype)
