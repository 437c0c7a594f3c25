"""BERT as the utterance encoder (eq. 1), over packed token sequences; the module of every post-layer-norm family.

The parameter tree is that of transformers' ``FlaxBertModule(add_pooling_layer=False)``, so that its parameters and
Hugging Face weights load unchanged. It is our own module because FlaxBert takes only a padding mask (no packing), and
because transformers dropped its Flax classes in version 5.
"""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.encoders.bert_sizes import BertSizes
from dtrm_jax.models.layers.attention import Rows, row_attention
from dtrm_jax.models.layers.dense import Weights, affine
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.relative_position import bucket_bias
from dtrm_jax.special_tokens import BERT_TOKENS, SpecialTokens

_INIT = nn.initializers.normal(0.02)


class BertEmbeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        token_ids_T: Int[Array, " T"],
        position_ids_T: Int[Array, " T"],
        segment_ids_T: Int[Array, " T"],
        deterministic: bool,
    ) -> Float[Array, "T Ew"]:
        """Returns the embedding of every token slot."""
        sizes = self.config
        tables = [
            ("word_embeddings", sizes.vocab_size, token_ids_T, _INIT),
            ("position_embeddings", sizes.max_positions, position_ids_T + sizes.first_position, _INIT),
        ]
        if sizes.segment_types:
            one_T = segment_ids_T if sizes.segment_types > 1 else jnp.zeros_like(segment_ids_T)
            tables.append(("token_type_embeddings", sizes.segment_types, one_T, _INIT))
        if sizes.learned_segments and sizes.segment_types < 2:
            tables.append(("learned_segment_embeddings", 2, segment_ids_T, nn.initializers.zeros))
        width = sizes.embedding_size or sizes.hidden_size
        x_TxEw = sum(
            nn.Embed(rows, width, embedding_init=init, dtype=self.dtype, name=name)(ids)
            for name, rows, ids, init in tables
        )
        x_TxEw = nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_TxEw)
        return Dropout(sizes.dropout)(x_TxEw, deterministic)


class Tokens(NamedTuple):
    """The facts about the token slots that attention needs.

    Attributes:
        sequence_ids_T: The sequence that each token slot belongs to.
        biases: For each row length, ``[R, H, S, S]`` to add to the scores of its rows. If None, nothing is added.
    """

    sequence_ids_T: Int[Array, " T"]
    biases: tuple[Float[Array, "_ H _ _"], ...] | None


class BertSelfAttention(nn.Module):
    """Block-masked multi-head attention, without the output projection."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x_TxD: Float[Array, "T D"], tokens: Tokens, rows: Rows, deterministic: bool
    ) -> Float[Array, "T D"]:
        """Returns the attended values of every token slot."""
        heads, width = self.config.heads, self.config.hidden_size
        projections = [Weights(width, _INIT, name=name)(width) for name in ("query", "key", "value")]
        if sum(count for _, count in rows) > 1:
            # One product instead of three.
            kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*projections, strict=True))
            qkv = jnp.split(affine(x_TxD, kernel, bias, self.dtype, self.config.products), 3, axis=-1)
        else:
            # Of a single row, joining the kernels would take longer than the products.
            qkv = [affine(x_TxD, *weights, self.dtype, self.config.products) for weights in projections]
        q, k, v = (x.reshape(-1, heads, width // heads) for x in qkv)
        dropout = Dropout(self.config.attention_dropout)
        drop = None if deterministic else lambda w: dropout(w, False)
        attended, weights = row_attention(
            q, k, v, tokens.sequence_ids_T, rows, drop, self.config.products, biases=tokens.biases
        )
        self.sow("intermediates", "weights", weights)
        return attended.reshape(-1, width)


class BertOutput(nn.Module):
    """Projection, dropout, residual and layer norm: the end of both halves of a layer."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x_XxI: Float[Array, "X I"], residual_XxD: Float[Array, "X D"], deterministic: bool
    ) -> Float[Array, "X D"]:
        """Returns ``LayerNorm(residual + dropout(W x + b))``."""
        kernel, bias = Weights(self.config.hidden_size, _INIT, name="dense")(x_XxI.shape[-1])
        x_XxD = affine(x_XxI, kernel, bias, self.dtype, self.config.products)
        x_XxD = residual_XxD + Dropout(self.config.dropout)(x_XxD, deterministic)
        return nn.LayerNorm(self.config.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_XxD)


class BertAttention(nn.Module):
    """Self-attention with its output projection."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        tokens: Tokens,
        read_O: Int[Array, " O"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns the output at every slot, or only at ``read_O``."""
        attended = BertSelfAttention(self.config, self.dtype, name="self")(x_TxD, tokens, rows, deterministic)
        if read_O is not None:
            attended, x_TxD = attended[read_O], x_TxD[read_O]
        return BertOutput(self.config, self.dtype, name="output")(attended, x_TxD, deterministic)


class BertIntermediate(nn.Module):
    """The first half of the feed-forward layer, with the exact (erf) GELU."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_XxD: Float[Array, "X D"]) -> Float[Array, "X F"]:
        """Returns the hidden activations."""
        kernel, bias = Weights(self.config.intermediate_size, _INIT, name="dense")(x_XxD.shape[-1])
        x_XxF = affine(x_XxD, kernel, bias, self.dtype, self.config.products)
        return gelu(x_XxF)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns the exact GELU; ``jax.nn.gelu`` computes erfc, which takes an exponential as well."""
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


class BertLayer(nn.Module):
    """One post-layer-norm encoder layer."""

    config: BertSizes
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        tokens: Tokens,
        read_O: Int[Array, " O"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns the hidden states of every slot, or only of ``read_O``."""
        x = BertAttention(self.config, self.dtype, name="attention")(x_TxD, tokens, read_O, rows, deterministic)
        hidden = BertIntermediate(self.config, self.dtype, name="intermediate")(x)
        return BertOutput(self.config, self.dtype, name="output")(hidden, x, deterministic)


class BertLayers(nn.Module):
    """The layers, named "0", "1", ... as in the Hugging Face tree."""

    config: BertSizes
    dtype: DTypeLike
    remat: bool

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        tokens: Tokens,
        read_O: Int[Array, " O"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Runs all layers; the last one finishes only the slots that are read."""
        layer = nn.remat(BertLayer, static_argnums=(4, 5)) if self.remat else BertLayer
        for index in range(self.config.layers):
            read_O_here = read_O if index == self.config.layers - 1 else None
            x_TxD = layer(self.config, self.dtype, name=str(index))(x_TxD, tokens, read_O_here, rows, deterministic)
        return x_TxD


class BertEncoder(nn.Module):
    """The layers, under "layer" as in the Hugging Face tree, and the parameters that they share."""

    config: BertSizes
    dtype: DTypeLike
    remat: bool

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        read_O: Int[Array, " O"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Runs all layers; see ``BertLayers``."""
        biases = None
        if buckets := self.config.relative_buckets:
            table = nn.Embed(buckets, self.config.heads, embedding_init=_INIT, name="relative_attention_bias")
            biases = bucket_bias(table, position_ids_T, rows, buckets)
        layers = BertLayers(self.config, self.dtype, self.remat, name="layer")
        return layers(x_TxD, Tokens(sequence_ids_T, biases), read_O, rows, deterministic)


class Bert(nn.Module):
    """BERT over packed token sequences: ``f_i = BERT([CLS] x_i [SEP] indi-context [SEP])``.

    Attributes:
        config: Sizes and dropout rates.
        dtype: Of the computation; parameters are float32.
        remat: Recompute each layer in the backward pass.
    """

    config: BertSizes
    dtype: DTypeLike = jnp.float32
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
        read_O: Int[Array, " O"] | None = None,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns last hidden states.

        Args:
            token_ids_T: Vocabulary ids.
            position_ids_T: Positions in each sequence, from 0.
            segment_ids_T: Segments.
            sequence_ids_T: Sequence of each slot; attention stays inside a sequence and inside its row.
            rows: ``PackShape.rows``: how the token axis is cut into rows.
            read_O: Slots whose states are wanted, such as those of the [CLS] tokens. If None, all are. The last layer
                does no work that only other slots would need.
            deterministic: No dropout.

        Returns:
            ``[O, D]``, or ``[T, D]`` without ``read_O``.
        """
        sizes = self.config
        embed = BertEmbeddings(sizes, self.dtype, name="embeddings")
        x_TxEw = embed(token_ids_T, position_ids_T, segment_ids_T, deterministic)
        if sizes.embedding_size:
            kernel, bias = Weights(sizes.hidden_size, _INIT, name="embeddings_project")(sizes.embedding_size)
            x_TxD = affine(x_TxEw, kernel, bias, self.dtype, sizes.products)
        else:
            x_TxD = x_TxEw
        encoder = BertEncoder(sizes, self.dtype, self.remat, name="encoder")
        return encoder(x_TxD, position_ids_T, sequence_ids_T, read_O, rows, deterministic)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(BertSizes):
    """Sizes of a BERT. The other families that compute as it does are subclasses."""

    family: ClassVar[str] = "bert"
    special: ClassVar[SpecialTokens] = BERT_TOKENS
    prefixes: ClassVar[tuple[str, ...]] = ("bert.",)
    extras: ClassVar[tuple[str, ...]] = ("pooler.", "cls.", "embeddings.position_ids")

    def module(self, dtype: DTypeLike, *, remat: bool, name: str | None) -> nn.Module:
        """See ``Encoder.module``."""
        return Bert(config=self, dtype=dtype, remat=remat, name=name)
