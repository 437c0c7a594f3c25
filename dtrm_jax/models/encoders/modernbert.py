"""ModernBERT over packed token sequences: pre-layer-norm, rotary positions, gated feed-forward, mostly local attention.

All that is known of the family stands here: the sizes with how ``config.json`` is read, the names in a weight file, and
the module. Modules are named as transformers names them.
"""

import dataclasses
import math
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dtrm_jax.models.encoders.family import BERT_TOKENS, SpecialTokens, Target
from dtrm_jax.models.layers.attention import row_attention
from dtrm_jax.models.layers.dense import affine
from dtrm_jax.models.layers.dropout import Dropout

Rows = tuple[tuple[int, int], ...]
_INIT = nn.initializers.normal(0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModernBertConfig:
    """Sizes and settings of a ModernBERT encoder.

    Attributes:
        vocab_size: Rows of the word embedding.
        hidden_size: Width of the hidden states, D; a multiple of twice ``heads``.
        layers: Transformer layers.
        heads: Attention heads of a layer, H.
        intermediate_size: Width of the feed-forward layer, F.
        max_positions: The longest token sequence.
        global_every: Layers 0, ``global_every``, twice ``global_every``, ... attend to the whole sequence, the others
            locally.
        reach: How many positions away a token sees in a local layer, in both directions.
        global_theta: Base of the rotary frequencies in layers that attend to the whole sequence.
        local_theta: Base of the rotary frequencies in local layers.
        layer_norm_eps: Added to the variance in every layer norm.
        norm_bias: Whether layer norms have a bias.
        attention_bias: Whether the projections of attention have a bias.
        mlp_bias: Whether the feed-forward layer has biases.
        dropout: Rate on the embeddings and inside the feed-forward layer.
        attention_dropout: Rate on the attention weights and on the output of attention.
        products: Type that matrix products take their inputs in: "float32" or "bfloat16".
        learned_segments: Whether a segment embedding, zero at first, is added to the embeddings.
    """

    family: ClassVar[str] = "modernbert"
    special: ClassVar[SpecialTokens] = BERT_TOKENS
    # The head of masked language modelling.
    extras: ClassVar[tuple[str, ...]] = ("head.", "decoder.")
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int
    global_every: int
    reach: int
    global_theta: float
    local_theta: float
    layer_norm_eps: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    dropout: float
    attention_dropout: float
    products: str
    learned_segments: bool

    @classmethod
    def from_config(cls, values: Any, **settings: Any) -> Self:
        """Reads the sizes from ``config.json``; see ``family.Encoder``."""
        values.expect("hidden_activation", "gelu")
        if values.get("rope_scaling", None) is not None:
            values.refuse("rope_scaling", "none")
        hidden, heads = values.size("hidden_size"), values.size("num_attention_heads")
        if hidden % (2 * heads):
            values.refuse("hidden_size", f"a multiple of twice the {heads} attention heads")
        global_theta = values.number("global_rope_theta")
        local_theta = global_theta
        if values.get("local_rope_theta", None) is not None:
            local_theta = values.number("local_rope_theta")
        return cls(
            vocab_size=values.size("vocab_size"),
            hidden_size=hidden,
            layers=values.size("num_hidden_layers"),
            heads=heads,
            intermediate_size=values.size("intermediate_size"),
            max_positions=values.size("max_position_embeddings"),
            global_every=values.size("global_attn_every_n_layers"),
            reach=values.size("local_attention") // 2,
            global_theta=global_theta,
            local_theta=local_theta,
            layer_norm_eps=values.fraction("norm_eps"),
            norm_bias=values.flag("norm_bias"),
            attention_bias=values.flag("attention_bias"),
            mlp_bias=values.flag("mlp_bias"),
            **settings,
        )

    @property
    def longest(self) -> int:
        """The longest token sequence that it takes, special tokens included."""
        return self.max_positions

    def is_local(self, layer: int) -> bool:
        """Returns whether this layer attends locally."""
        return layer % self.global_every != 0

    def module(self, dtype: jnp.dtype, *, remat: bool, name: str | None) -> "ModernBert":
        """Builds the module."""
        return ModernBert(self, dtype, remat, name=name)

    def arrays(self) -> dict[str, Target]:
        """Returns the name in a weight file, without prefix, -> target."""
        width, wide = self.hidden_size, self.intermediate_size
        embedding = ("embeddings", "tok_embeddings", "embedding")
        targets = {"embeddings.tok_embeddings.weight": Target(embedding, (self.vocab_size, width))}
        targets |= self._norm("embeddings.norm") | self._norm("final_norm")
        for index in range(self.layers):
            layer = f"layers.{index}"
            if index:
                targets |= self._norm(f"{layer}.attn_norm")
            targets |= _linear(f"{layer}.attn.Wqkv", width, 3 * width, self.attention_bias)
            targets |= _linear(f"{layer}.attn.Wo", width, width, self.attention_bias)
            targets |= self._norm(f"{layer}.mlp_norm")
            targets |= _linear(f"{layer}.mlp.Wi", width, 2 * wide, self.mlp_bias)
            targets |= _linear(f"{layer}.mlp.Wo", wide, width, self.mlp_bias)
        return targets

    def _norm(self, module: str) -> dict[str, Target]:
        targets = {f"{module}.weight": Target((*_path(module), "scale"), (self.hidden_size,))}
        if self.norm_bias:
            targets[f"{module}.bias"] = Target((*_path(module), "bias"), (self.hidden_size,))
        return targets


def _linear(module: str, inputs: int, outputs: int, bias: bool) -> dict[str, Target]:
    targets = {f"{module}.weight": Target((*_path(module), "kernel"), (outputs, inputs), transpose=True)}
    if bias:
        targets[f"{module}.bias"] = Target((*_path(module), "bias"), (outputs,))
    return targets


def _path(module: str) -> tuple[str, ...]:
    """Returns where a module of PyTorch's stands in our tree: ``layers.3.attn.Wo`` -> layers_3, attn, Wo."""
    return tuple(module.replace("layers.", "layers_").split("."))


class Embeddings(nn.Module):
    """Word embeddings, with a segment embedding where one is learned, normalised."""

    config: ModernBertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, token_ids_T: Int[Array, " T"], segment_ids_T: Int[Array, " T"], deterministic: bool
    ) -> Float[Array, "T D"]:
        """Returns the embedding of every token slot."""
        rows, width = self.config.vocab_size, self.config.hidden_size
        x_TxD = nn.Embed(rows, width, embedding_init=_INIT, dtype=self.dtype, name="tok_embeddings")(token_ids_T)
        if self.config.learned_segments:
            zeros = nn.initializers.zeros
            x_TxD += nn.Embed(2, width, embedding_init=zeros, dtype=self.dtype, name="segments")(segment_ids_T)
        x_TxD = _layer_norm(self.config, self.dtype, "norm")(x_TxD)
        return Dropout(self.config.dropout)(x_TxD, deterministic)


class Linear(nn.Module):
    """``x W + b``, or ``x W`` without a bias."""

    features: int
    use_bias: bool
    config: ModernBertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_PxI: Float[Array, "P I"]) -> Float[Array, "P O"]:
        """Applies the layer to every position."""
        kernel = self.param("kernel", _INIT, (x_PxI.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        return affine(x_PxI, kernel, bias, self.dtype, self.config.products)


class Attention(nn.Module):
    """Self-attention with rotary positions, of the whole sequence or local.

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        local: Whether tokens see their neighbourhood only.
    """

    config: ModernBertConfig
    dtype: jnp.dtype
    local: bool

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        read_U: Int[Array, " U"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Returns the output at every slot, or only at ``read_U``."""
        sizes = self.config
        width, heads = sizes.hidden_size, sizes.heads
        qkv_Tx3D = Linear(3 * width, sizes.attention_bias, sizes, self.dtype, name="Wqkv")(x_TxD)
        q, k, v = (x.reshape(-1, heads, width // heads) for x in jnp.split(qkv_Tx3D, 3, axis=-1))
        theta = sizes.local_theta if self.local else sizes.global_theta
        q, k = (rotate(x, position_ids_T, theta) for x in (q, k))
        dropout = Dropout(sizes.attention_dropout)
        attended, weights = row_attention(
            q,
            k,
            v,
            sequence_ids_T,
            rows,
            None if deterministic else lambda w: dropout(w, False),
            sizes.products,
            position_ids_T=position_ids_T,
            reach=sizes.reach if self.local else None,
        )
        self.sow("intermediates", "weights", weights)
        attended_PxD = attended.reshape(-1, width)
        if read_U is not None:
            attended_PxD = attended_PxD[read_U]
        out_PxD = Linear(width, sizes.attention_bias, sizes, self.dtype, name="Wo")(attended_PxD)
        return Dropout(sizes.attention_dropout)(out_PxD, deterministic)


def rotate(x_TxHxE: Float[Array, "T H E"], position_ids_T: Int[Array, " T"], theta: float) -> Float[Array, "T H E"]:
    """Rotary positions: turns the pair (n, n + E/2) by the angle ``position * theta ** (-2 n / E)``.

    The product of a query and a key then depends on the distance of their positions, not on the positions themselves.

    Args:
        x_TxHxE: Queries or keys.
        position_ids_T: Positions in each sequence.
        theta: Base of the frequencies.
    """
    width = x_TxHxE.shape[-1]
    frequencies = np.float32(1.0) / np.float32(theta) ** (np.arange(0, width, 2, dtype=np.float32) / width)
    angles_TxE2 = position_ids_T.astype(jnp.float32)[:, None] * frequencies
    cos, sin = (f(angles_TxE2)[:, None].astype(x_TxHxE.dtype) for f in (jnp.cos, jnp.sin))
    first, second = jnp.split(x_TxHxE, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


class FeedForward(nn.Module):
    """The gated feed-forward layer, GeGLU: ``W_o (gelu(W_i x) * W_g x)``, with the exact GELU."""

    config: ModernBertConfig
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_PxD: Float[Array, "P D"], deterministic: bool) -> Float[Array, "P D"]:
        """Returns the output at every position."""
        sizes = self.config
        both = Linear(2 * sizes.intermediate_size, sizes.mlp_bias, sizes, self.dtype, name="Wi")(x_PxD)
        x_PxF, gate_PxF = jnp.split(both, 2, axis=-1)
        hidden_PxF = 0.5 * x_PxF * (1.0 + jax.lax.erf(x_PxF * math.sqrt(0.5))) * gate_PxF
        hidden_PxF = Dropout(sizes.dropout)(hidden_PxF, deterministic)
        return Linear(sizes.hidden_size, sizes.mlp_bias, sizes, self.dtype, name="Wo")(hidden_PxF)


class Layer(nn.Module):
    """One pre-layer-norm layer; the first has no norm before attention, since the embeddings are normalised.

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        index: Which layer it is.
    """

    config: ModernBertConfig
    dtype: jnp.dtype
    index: int

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        read_U: Int[Array, " U"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "P D"]:
        """Returns the hidden states of every slot, or only of ``read_U``."""
        attention = Attention(self.config, self.dtype, self.config.is_local(self.index), name="attn")
        normed_TxD = _layer_norm(self.config, self.dtype, "attn_norm")(x_TxD) if self.index else x_TxD
        attended_PxD = attention(normed_TxD, position_ids_T, sequence_ids_T, read_U, rows, deterministic)
        x_PxD = attended_PxD + (x_TxD if read_U is None else x_TxD[read_U])
        normed_PxD = _layer_norm(self.config, self.dtype, "mlp_norm")(x_PxD)
        return x_PxD + FeedForward(self.config, self.dtype, name="mlp")(normed_PxD, deterministic)


def _layer_norm(config: ModernBertConfig, dtype: jnp.dtype, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(config.layer_norm_eps, use_bias=config.norm_bias, dtype=dtype, name=name)


class ModernBert(nn.Module):
    """ModernBERT over packed token sequences.

    Attributes:
        config: Sizes and dropout rates.
        dtype: Of the computation; parameters are float32.
        remat: Recompute each layer in the backward pass.
    """

    config: ModernBertConfig
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
        """Returns last hidden states; arguments and result are those of ``bert.Bert``."""
        x_TxD = Embeddings(self.config, self.dtype, name="embeddings")(token_ids_T, segment_ids_T, deterministic)
        layer = nn.remat(Layer, static_argnums=(5, 6)) if self.remat else Layer
        for index in range(self.config.layers):
            read = read_U if index == self.config.layers - 1 else None
            x_TxD = layer(self.config, self.dtype, index, name=f"layers_{index}")(
                x_TxD, position_ids_T, sequence_ids_T, read, rows, deterministic
            )
        return _layer_norm(self.config, self.dtype, "final_norm")(x_TxD)
