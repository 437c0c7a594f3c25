"""BERT as the utterance encoder (eq. 1), over packed token sequences; the module of every post-layer-norm family.

The parameter tree is that of transformers' ``FlaxBertModule(add_pooling_layer=False)``, so that its parameters and
Hugging Face weights load unchanged. It is our own module because FlaxBert takes only a padding mask (no packing), and
because transformers dropped its Flax classes in version 5.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.models.encoders.family import Encoder, Target, embedding, layer_norm, linear
from dtrm_jax.models.layers.attention import Rows, row_attention
from dtrm_jax.models.layers.dense import Dense, Weights, affine
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.relative_position import bucket_bias
from dtrm_jax.special_tokens import BERT_TOKENS, SpecialTokens

_INIT = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(Encoder):
    """Sizes of a BERT, or of a family that computes as it does.

    Attributes:
        intermediate_size: Width of the feed-forward layer, F.
        max_positions: Rows of the position embedding.
        segment_types: Rows of the segment (token type) embedding. Segments are told apart only by 2 or more; the one
            row of RoBERTa's is added to every token.
        layer_norm_eps: Added to the variance in every layer norm.
        first_position: The row of the position embedding that a sequence begins with.
        embedding_size: Width of the embeddings, if they are projected to ``hidden_size``; 0 if they are that wide.
        relative_buckets: Rows of the relative position bias that all layers share; 0 if there is none.
        array_names: A module's path here -> its name in a weight file, where the two differ. Inside a layer, paths are
            relative to the layer.
    """

    family: ClassVar[str] = "bert"
    special: ClassVar[SpecialTokens] = BERT_TOKENS
    prefixes: ClassVar[tuple[str, ...]] = ("bert.",)
    extras: ClassVar[tuple[str, ...]] = ("pooler.", "cls.", "embeddings.position_ids")
    array_names: ClassVar[Mapping[str, str]] = {}

    intermediate_size: int
    max_positions: int = 512
    segment_types: int = 2
    layer_norm_eps: float = 1e-12
    first_position: int = 0
    embedding_size: int = 0
    relative_buckets: int = 0

    @property
    def longest(self) -> int:
        """The longest token sequence: RoBERTa's 514 positions are 512."""
        return self.max_positions - self.first_position

    @property
    def tells_segments(self) -> bool:
        """Whether there are segment embeddings that tell the utterance from its context."""
        return self.segment_types > 1 or self.learned_segments

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "BertConfig":
        """Reads the sizes; refuses decoders, relative positions and other activations than the exact GELU."""
        file.expect("hidden_act", "gelu")
        file.expect("position_embedding_type", "absolute", absent="absolute")
        file.expect("is_decoder", False, absent=False)
        sizes = {
            "vocab_size": file.size("vocab_size"),
            "hidden_size": file.size("hidden_size"),
            "layers": file.size("num_hidden_layers"),
            "heads": file.size("num_attention_heads"),
            "intermediate_size": file.size("intermediate_size"),
            "max_positions": file.size("max_position_embeddings"),
            "layer_norm_eps": file.small("layer_norm_eps", 1e-12),  # the oldest files have none and mean BERT's
            **cls._own_sizes(file),
        }
        file.check_heads("hidden_size", sizes["hidden_size"], sizes["heads"])
        return cls(**{**settings, **sizes})

    @classmethod
    def _own_sizes(cls, file: ConfigFile) -> dict[str, Any]:
        """Returns what the family reads besides the sizes that all share."""
        return {"segment_types": file.size("type_vocab_size")}

    def module(self, dtype: DTypeLike, *, remat: bool, name: str | None) -> nn.Module:
        """See ``Encoder.module``."""
        return Bert(config=self, dtype=dtype, remat=remat, name=name)

    def arrays(self) -> dict[str, Target]:
        """See ``Encoder.arrays``."""
        width, wide = self.hidden_size, self.intermediate_size
        embedded = self.embedding_size or width
        targets: dict[str, Target] = {}
        for table, rows in (
            ("word_embeddings", self.vocab_size),
            ("position_embeddings", self.max_positions),
            ("token_type_embeddings", self.segment_types),
        ):
            if rows:
                targets |= embedding(f"embeddings.{table}", ("embeddings", table), rows, embedded)
        targets |= layer_norm("embeddings.LayerNorm", ("embeddings", "LayerNorm"), embedded)
        if self.embedding_size:
            targets |= linear("embeddings_project", ("embeddings_project",), embedded, width)
        if self.relative_buckets:
            path = ("encoder", "relative_attention_bias")
            targets |= embedding("encoder.relative_attention_bias", path, self.relative_buckets, self.heads)
        for index in range(self.layers):
            for module in ("attention.self.query", "attention.self.key", "attention.self.value"):
                targets |= linear(*self._in_layer(index, module), width, width)
            targets |= linear(*self._in_layer(index, "attention.output.dense"), width, width)
            targets |= layer_norm(*self._in_layer(index, "attention.output.LayerNorm"), width)
            targets |= linear(*self._in_layer(index, "intermediate.dense"), width, wide)
            targets |= linear(*self._in_layer(index, "output.dense"), wide, width)
            targets |= layer_norm(*self._in_layer(index, "output.LayerNorm"), width)
        return targets

    def _in_layer(self, index: int, module: str) -> tuple[str, tuple[str, ...]]:
        """Returns the name in a weight file and the path of a module in a layer."""
        layers = self.array_names.get("encoder.layer", "encoder.layer")
        name = f"{layers}.{index}.{self.array_names.get(module, module)}"
        return name, ("encoder", "layer", str(index), *module.split("."))


class BertEmbeddings(nn.Module):
    """Sum of word, position and segment embeddings, normalised."""

    config: BertConfig
    dtype: DTypeLike

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
        x_TxD = sum(
            nn.Embed(rows, width, embedding_init=init, dtype=self.dtype, name=name)(ids)
            for name, rows, ids, init in tables
        )
        x_TxD = nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_TxD)
        return Dropout(sizes.dropout)(x_TxD, deterministic)


class Tokens(NamedTuple):
    """What attention needs to know of the token slots.

    Attributes:
        sequence_ids_T: Which sequence each belongs to.
        biases: For each row length, what is added to the scores of its rows, ``[R, H, S, S]``; None adds nothing.
    """

    sequence_ids_T: Int[Array, " T"]
    biases: tuple[Float[Array, "R H S S"], ...] | None


class BertSelfAttention(nn.Module):
    """Block-masked multi-head attention, without the output projection."""

    config: BertConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, x_TxD: Float[Array, "T D"], tokens: Tokens, rows: Rows, deterministic: bool
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
        attended, weights = row_attention(
            q, k, v, tokens.sequence_ids_T, rows, drop, self.config.products, biases=tokens.biases
        )
        self.sow("intermediates", "weights", weights)
        return attended.reshape(-1, width)


class BertOutput(nn.Module):
    """Projection, dropout, residual and layer norm: the end of both halves of a layer."""

    config: BertConfig
    dtype: DTypeLike

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

    config: BertConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_PxD: Float[Array, "P D"]) -> Float[Array, "P F"]:
        """Returns the hidden activations."""
        x_PxF = Dense(self.config.intermediate_size, self.dtype, self.config.products, _INIT, name="dense")(x_PxD)
        # jax.nn.gelu computes erfc, which takes an exponential as well.
        return 0.5 * x_PxF * (1.0 + jax.lax.erf(x_PxF * math.sqrt(0.5)))


class BertLayer(nn.Module):
    """One post-layer-norm encoder layer."""

    config: BertConfig
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

    config: BertConfig
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
    """The layers, under "layer" as in the Hugging Face tree, and what they share."""

    config: BertConfig
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

    config: BertConfig
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
        read_U: Int[Array, " O"] | None = None,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns last hidden states.

        Args:
            token_ids_T: Vocabulary ids.
            position_ids_T: Positions in each sequence, from 0.
            segment_ids_T: Segments.
            sequence_ids_T: Sequence of each slot; attention stays inside a sequence and inside its row.
            rows: ``PackShape.rows``: how the token axis is cut into rows.
            read_U: Slots whose states are wanted, such as the [CLS]s; None: all. The work of the last layer that other
                slots would need is not done.
            deterministic: No dropout.

        Returns:
            ``[O, D]``, or ``[T, D]`` without ``read_U``.
        """
        sizes = self.config
        embed = BertEmbeddings(sizes, self.dtype, name="embeddings")
        x_TxD = embed(token_ids_T, position_ids_T, segment_ids_T, deterministic)
        if sizes.embedding_size:
            project = Dense(sizes.hidden_size, self.dtype, sizes.products, _INIT, name="embeddings_project")
            x_TxD = project(x_TxD)
        encoder = BertEncoder(sizes, self.dtype, self.remat, name="encoder")
        return encoder(x_TxD, position_ids_T, sequence_ids_T, read_U, rows, deterministic)
