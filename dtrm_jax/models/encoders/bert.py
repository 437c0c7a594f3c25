"""BERT as the utterance encoder (eq. 1), over packed token sequences.

The parameter tree is that of transformers' ``FlaxBertModule(add_pooling_layer=False)``, so its parameters and Hugging
Face weights load unchanged. It is our own module because FlaxBert takes only a padding mask (no packing), and because
transformers dropped its Flax classes in version 5.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dtrm_jax.models.encoders.bert_config import BertConfig
from dtrm_jax.models.layers.attention import row_attention
from dtrm_jax.models.layers.dense import Dense, Weights, affine
from dtrm_jax.models.layers.dropout import Dropout

Rows = tuple[tuple[int, int], ...]
_INIT = nn.initializers.normal(0.02)


class BertEmbeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        token_ids_T: Int[Array, " T"],
        position_ids_T: Int[Array, " T"],
        segment_ids_T: Int[Array, " T"],
        deterministic: bool,
    ) -> Float[Array, "T D"]:
        """Returns the embedding of every token slot."""
        sizes = self.config
        x_TxD = sum(
            nn.Embed(rows, sizes.hidden_size, embedding_init=_INIT, dtype=self.dtype, name=name)(ids)
            for name, rows, ids in (
                ("word_embeddings", sizes.vocab_size, token_ids_T),
                ("position_embeddings", sizes.max_positions, position_ids_T),
                ("token_type_embeddings", sizes.segment_types, segment_ids_T),
            )
        )
        x_TxD = nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_TxD)
        return Dropout(sizes.dropout)(x_TxD, deterministic)


class BertSelfAttention(nn.Module):
    """Block-masked multi-head attention, without the output projection."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x_TxD: Float[Array, "T D"], sequence_ids_T: Int[Array, " T"], rows: Rows, deterministic: bool
    ) -> Float[Array, "T D"]:
        """Returns the attended values of every token slot."""
        heads, width = self.config.heads, self.config.hidden_size
        projections = [Weights(width, _INIT, name=name)(width) for name in ("query", "key", "value")]
        # One product instead of three.
        kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*projections, strict=True))
        qkv = affine(x_TxD, kernel, bias, self.dtype, self.config.products)
        q, k, v = (x.reshape(-1, heads, width // heads) for x in jnp.split(qkv, 3, axis=-1))
        dropout = Dropout(self.config.attention_dropout)
        drop = None if deterministic else lambda w: dropout(w, False)
        attended, weights = row_attention(q, k, v, sequence_ids_T, rows, drop, self.config.products)
        self.sow("intermediates", "weights", weights)
        return attended.reshape(-1, width)


class BertOutput(nn.Module):
    """Projection, dropout, residual and layer norm: the end of both halves of a layer."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x_PxF: Float[Array, "P F"], residual_PxD: Float[Array, "P D"], deterministic: bool
    ) -> Float[Array, "P D"]:
        """Returns ``LayerNorm(residual + dropout(W x + b))``."""
        x_PxD = Dense(self.config.hidden_size, self.dtype, self.config.products, _INIT, name="dense")(x_PxF)
        x_PxD = residual_PxD + Dropout(self.config.dropout)(x_PxD, deterministic)
        return nn.LayerNorm(self.config.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_PxD)


class BertAttention(nn.Module):
    """Self-attention with its output projection."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        sequence_ids_T: Int[Array, " T"],
        read_U: Int[Array, " U"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Returns the output at every slot, or only at ``read_U``."""
        attended = BertSelfAttention(self.config, self.dtype, name="self")(x_TxD, sequence_ids_T, rows, deterministic)
        if read_U is not None:
            attended, x_TxD = attended[read_U], x_TxD[read_U]
        return BertOutput(self.config, self.dtype, name="output")(attended, x_TxD, deterministic)


class BertIntermediate(nn.Module):
    """The first half of the feed-forward layer, with the exact (erf) GELU."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_PxD: Float[Array, "P D"]) -> Float[Array, "P F"]:
        """Returns the hidden activations."""
        x_PxF = Dense(self.config.intermediate_size, self.dtype, self.config.products, _INIT, name="dense")(x_PxD)
        # jax.nn.gelu computes erfc, which takes an exponential as well.
        return 0.5 * x_PxF * (1.0 + jax.lax.erf(x_PxF * math.sqrt(0.5)))


class BertLayer(nn.Module):
    """One post-layer-norm encoder layer."""

    config: BertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        sequence_ids_T: Int[Array, " T"],
        read_U: Int[Array, " U"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Returns the hidden states of every slot, or only of ``read_U``."""
        x = BertAttention(self.config, self.dtype, name="attention")(x_TxD, sequence_ids_T, read_U, rows, deterministic)
        hidden = BertIntermediate(self.config, self.dtype, name="intermediate")(x)
        return BertOutput(self.config, self.dtype, name="output")(hidden, x, deterministic)


class BertLayers(nn.Module):
    """The layers, named "0", "1", ... as in the Hugging Face tree."""

    config: BertConfig
    dtype: jnp.dtype
    remat: bool

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        sequence_ids_T: Int[Array, " T"],
        read_U: Int[Array, " U"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Runs all layers; the last one finishes only the slots that are read."""
        layer = nn.remat(BertLayer, static_argnums=(4, 5)) if self.remat else BertLayer
        for index in range(self.config.layers):
            read = read_U if index == self.config.layers - 1 else None
            x_TxD = layer(self.config, self.dtype, name=str(index))(x_TxD, sequence_ids_T, read, rows, deterministic)
        return x_TxD


class BertEncoder(nn.Module):
    """Nests the layers under "layer", as the Hugging Face tree does."""

    config: BertConfig
    dtype: jnp.dtype
    remat: bool

    @nn.compact
    def __call__(self, *arguments) -> Float[Array, "P D"]:
        """See ``BertLayers``."""
        return BertLayers(self.config, self.dtype, self.remat, name="layer")(*arguments)


class Bert(nn.Module):
    """BERT over packed token sequences: ``f_i = BERT([CLS] x_i [SEP] indi-context [SEP])``.

    Attributes:
        config: Sizes and dropout rates.
        dtype: Of the computation; parameters are float32.
        remat: Recompute each layer in the backward pass.
    """

    config: BertConfig
    dtype: jnp.dtype = jnp.float32
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        token_ids_T: Int[Array, " T"],
        position_ids_T: Int[Array, " T"],
        segment_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        rows: Rows,
        *,
        read_U: Int[Array, " U"] | None = None,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Returns last hidden states.

        Args:
            token_ids_T: Vocabulary ids.
            position_ids_T: Positions in each sequence.
            segment_ids_T: Segments.
            sequence_ids_T: Sequence of each slot; attention stays inside a sequence and inside its row.
            rows: ``PackShape.rows``: how the token axis is cut into rows.
            read_U: Slots whose states are wanted, such as the [CLS]s; None: all. The work of the last layer that other
                slots would need is not done.
            deterministic: No dropout.

        Returns:
            ``[U, D]``, or ``[T, D]`` without ``read_U``.
        """
        x_TxD = BertEmbeddings(self.config, self.dtype, name="embeddings")(
            token_ids_T, position_ids_T, segment_ids_T, deterministic
        )
        encoder = BertEncoder(self.config, self.dtype, self.remat, name="encoder")
        return encoder(x_TxD, sequence_ids_T, read_U, rows, deterministic)
