"""ModernBERT over packed token sequences: pre-layer-norm, rotary positions, gated feed-forward, mostly local attention.

Everything about the family stands here: the sizes with how ``config.json`` is read, the names in a weight file, and
the module. Modules are named as transformers names them.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.encoders.bert import gelu
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.models.encoders.family import Encoder, Target, embedding, layer_norm, linear
from dtrm_jax.models.layers.attention import Rows, row_attention
from dtrm_jax.models.layers.dense import affine
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.special_tokens import BERT_TOKENS, SpecialTokens

_INIT = nn.initializers.normal(0.02)
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"  # as transformers 5 calls the layers


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModernBertConfig(Encoder):
    """Sizes of a ModernBERT.

    ``dropout`` is the rate on the embeddings and inside the feed-forward layer, ``attention_dropout`` that on the
    attention weights and on the output of attention.

    Attributes:
        intermediate_size: Width of the feed-forward layer, F.
        max_positions: The longest token sequence.
        global_every: Layers 0, ``global_every``, twice ``global_every`` and so on attend to the whole sequence, the
            others locally.
        reach: How many positions away a token sees in a local layer, in both directions.
        global_theta: Base of the rotary frequencies in layers that attend to the whole sequence.
        local_theta: Base of the rotary frequencies in local layers.
        layer_norm_eps: Added to the variance in every layer norm.
        norm_bias: Whether layer norms have a bias.
        attention_bias: Whether the projections of attention have a bias.
        mlp_bias: Whether the feed-forward layer has biases.
    """

    family: ClassVar[str] = "modernbert"
    special: ClassVar[SpecialTokens] = BERT_TOKENS
    prefixes: ClassVar[tuple[str, ...]] = ("model.",)
    extras: ClassVar[tuple[str, ...]] = ("head.", "decoder.")  # of masked language modelling

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

    @property
    def longest(self) -> int:
        """See ``Encoder.longest``."""
        return self.max_positions

    def is_local(self, layer: int) -> bool:
        """Returns whether this layer attends locally."""
        return layer % self.global_every != 0

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "ModernBertConfig":
        """Reads the sizes, as transformers 4 or 5 writes them.

        Refused are other activations than the exact GELU, scaled rotary positions, and other orders of local and
        global layers than ``global_every``.
        """
        file.expect("hidden_activation", "gelu", absent="gelu")
        file.expect("rope_scaling", None)
        hidden_size, heads = file.size("hidden_size"), file.size("num_attention_heads")
        layers = file.size("num_hidden_layers")
        if hidden_size % (2 * heads):
            file.refuse("hidden_size", f"a multiple of twice the {heads} attention heads")
        global_theta, local_theta = _thetas(file)
        sizes = {
            "vocab_size": file.size("vocab_size"),
            "hidden_size": hidden_size,
            "layers": layers,
            "heads": heads,
            "intermediate_size": file.size("intermediate_size"),
            "max_positions": file.size("max_position_embeddings"),
            "global_every": _global_every(file, layers),
            "reach": file.size("local_attention", absent=128) // 2,
            "global_theta": global_theta,
            "local_theta": local_theta,
            "layer_norm_eps": file.small("norm_eps", 1e-5),
            "norm_bias": file.expect("norm_bias", False, True, absent=False),
            "attention_bias": file.expect("attention_bias", False, True, absent=False),
            "mlp_bias": file.expect("mlp_bias", False, True, absent=False),
        }
        return cls(**{**settings, **sizes})

    def module(self, dtype: DTypeLike, *, remat: bool, name: str | None) -> nn.Module:
        """See ``Encoder.module``."""
        return ModernBert(config=self, dtype=dtype, remat=remat, name=name)

    def arrays(self) -> dict[str, Target]:
        """See ``Encoder.arrays``."""
        width, wide = self.hidden_size, self.intermediate_size
        table = "embeddings.tok_embeddings"
        targets = embedding(table, _path(table), self.vocab_size, width)
        norms = ["embeddings.norm", "final_norm"]
        for index in range(self.layers):
            layer = f"layers.{index}"
            norms += [f"{layer}.attn_norm"] * (index > 0) + [f"{layer}.mlp_norm"]
            for module, inputs, outputs, bias in (
                (f"{layer}.attn.Wqkv", width, 3 * width, self.attention_bias),
                (f"{layer}.attn.Wo", width, width, self.attention_bias),
                (f"{layer}.mlp.Wi", width, 2 * wide, self.mlp_bias),
                (f"{layer}.mlp.Wo", wide, width, self.mlp_bias),
            ):
                targets |= linear(module, _path(module), inputs, outputs, bias=bias)
        for module in norms:
            targets |= layer_norm(module, _path(module), width, bias=self.norm_bias)
        return targets


def _global_every(file: ConfigFile, layers: int) -> int:
    """Returns the distance of global layers, of which ``layer_types`` of transformers 5 lists every layer."""
    old, new = "global_attn_every_n_layers", "layer_types"
    types = file.values.get(new)
    if types is None:
        return file.size(old, absent=3)
    repeated = types[1:].index(_GLOBAL) + 1 if isinstance(types, list) and _GLOBAL in types[1:] else layers
    every = file.size(old) if old in file.values else repeated
    if types == [_LOCAL if layer % every else _GLOBAL for layer in range(layers)]:
        return every
    if types == [_LOCAL if layer % repeated else _GLOBAL for layer in range(layers)]:
        file.refuse(new, f"{_GLOBAL} in every layer that {every} divides, as {old} has it")
    file.refuse(new, f"{layers} layers, {_GLOBAL} in the first and at equal distances, {_LOCAL} in the others")


def _thetas(file: ConfigFile) -> tuple[float, float]:
    """Returns the bases of global and local layers; ``rope_parameters`` of transformers 5 has one for each type."""
    new = "rope_parameters"
    global_theta = local_theta = file.number("global_rope_theta", absent=160000.0)
    # A null says that local layers have no base of their own; a file without the key means the published one.
    if file.values.get("local_rope_theta", 10000.0) is not None:
        local_theta = file.number("local_rope_theta", absent=10000.0)
    thetas = {_GLOBAL: global_theta, _LOCAL: local_theta}
    if (types := file.values.get(new)) is None:
        return global_theta, local_theta
    if not isinstance(types, dict) or not types.keys() <= thetas.keys():
        file.refuse(new, f"an object with {_GLOBAL} and {_LOCAL}")
    for kind, old in ((_GLOBAL, "global_rope_theta"), (_LOCAL, "local_rope_theta")):
        given = {} if types.get(kind) is None else types[kind]
        if not isinstance(given, dict) or not given.keys() <= {"rope_theta", "rope_type"}:
            file.refuse(new, f"no more than rope_theta and rope_type in {kind}")
        if given.get("rope_type", "default") != "default":
            file.refuse(new, f"rope_type 'default' in {kind}")
        theta = given.get("rope_theta", thetas[kind])
        if type(theta) not in (int, float) or theta <= 0:
            file.refuse(new, f"a rope_theta above 0 in {kind}")
        if old in file.values and theta != thetas[kind]:
            file.refuse(new, f"rope_theta {thetas[kind]} in {kind}, as {old} has it")
        thetas[kind] = float(theta)
    return thetas[_GLOBAL], thetas[_LOCAL]


def _path(module: str) -> tuple[str, ...]:
    """Returns where a module of PyTorch's stands in our tree: ``layers.3.attn.Wo`` -> layers_3, attn, Wo."""
    return tuple(module.replace("layers.", "layers_").split("."))


class Embeddings(nn.Module):
    """Word embeddings, with a segment embedding where one is learned, normalised."""

    config: ModernBertConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, token_ids_T: Int[Array, " T"], segment_ids_T: Int[Array, " T"], deterministic: bool
    ) -> Float[Array, "T D"]:
        """Returns the embedding of every token slot."""
        rows, width = self.config.vocab_size, self.config.hidden_size
        x_TxD = nn.Embed(rows, width, embedding_init=_INIT, dtype=self.dtype, name="tok_embeddings")(token_ids_T)
        if self.config.learned_segments:
            segments = nn.Embed(
                2, width, embedding_init=nn.initializers.zeros, dtype=self.dtype, name="learned_segment_embeddings"
            )
            x_TxD = x_TxD + segments(segment_ids_T)
        x_TxD = _layer_norm(self.config, self.dtype, "norm")(x_TxD)
        return Dropout(self.config.dropout)(x_TxD, deterministic)


class Linear(nn.Module):
    """``x W + b``, or ``x W`` without a bias."""

    features: int
    use_bias: bool
    config: ModernBertConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_XxI: Float[Array, "X I"]) -> Float[Array, "X Y"]:
        """Applies the layer to every position."""
        kernel = self.param("kernel", _INIT, (x_XxI.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        return affine(x_XxI, kernel, bias, self.dtype, self.config.products)


class Attention(nn.Module):
    """Self-attention with rotary positions, of the whole sequence or local.

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        local: Whether tokens see their neighbourhood only.
    """

    config: ModernBertConfig
    dtype: DTypeLike
    local: bool

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
        """Returns the output at every slot, or only at ``read_O``."""
        sizes = self.config
        width, heads = sizes.hidden_size, sizes.heads
        qkv_TxY = Linear(3 * width, sizes.attention_bias, sizes, self.dtype, name="Wqkv")(x_TxD)
        q, k, v = (x.reshape(-1, heads, width // heads) for x in jnp.split(qkv_TxY, 3, axis=-1))
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
        attended_OxD = attended.reshape(-1, width)
        if read_O is not None:
            attended_OxD = attended_OxD[read_O]
        out_OxD = Linear(width, sizes.attention_bias, sizes, self.dtype, name="Wo")(attended_OxD)
        return Dropout(sizes.attention_dropout)(out_OxD, deterministic)


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
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x_XxD: Float[Array, "X D"], deterministic: bool) -> Float[Array, "X D"]:
        """Returns the output at every position."""
        sizes = self.config
        both = Linear(2 * sizes.intermediate_size, sizes.mlp_bias, sizes, self.dtype, name="Wi")(x_XxD)
        x_XxF, gate_XxF = jnp.split(both, 2, axis=-1)
        hidden_XxF = gelu(x_XxF) * gate_XxF
        hidden_XxF = Dropout(sizes.dropout)(hidden_XxF, deterministic)
        return Linear(sizes.hidden_size, sizes.mlp_bias, sizes, self.dtype, name="Wo")(hidden_XxF)


class Layer(nn.Module):
    """One pre-layer-norm layer; the first has no norm before attention, since the embeddings are normalised.

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        index: Which layer it is.
    """

    config: ModernBertConfig
    dtype: DTypeLike
    index: int

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
        """Returns the hidden states of every slot, or only of ``read_O``."""
        attention = Attention(self.config, self.dtype, self.config.is_local(self.index), name="attn")
        normed_TxD = _layer_norm(self.config, self.dtype, "attn_norm")(x_TxD) if self.index else x_TxD
        attended_OxD = attention(normed_TxD, position_ids_T, sequence_ids_T, read_O, rows, deterministic)
        x_OxD = attended_OxD + (x_TxD if read_O is None else x_TxD[read_O])
        normed_OxD = _layer_norm(self.config, self.dtype, "mlp_norm")(x_OxD)
        return x_OxD + FeedForward(self.config, self.dtype, name="mlp")(normed_OxD, deterministic)


def _layer_norm(config: ModernBertConfig, dtype: DTypeLike, name: str) -> nn.LayerNorm:
    return nn.LayerNorm(config.layer_norm_eps, use_bias=config.norm_bias, dtype=dtype, name=name)


class ModernBert(nn.Module):
    """ModernBERT over packed token sequences.

    Attributes:
        config: Sizes and dropout rates.
        dtype: Of the computation; parameters are float32.
        remat: Recompute each layer in the backward pass.
    """

    config: ModernBertConfig
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
        """Returns last hidden states; arguments and result are those of ``bert.Bert``."""
        x_TxD = Embeddings(self.config, self.dtype, name="embeddings")(token_ids_T, segment_ids_T, deterministic)
        layer = nn.remat(Layer, static_argnums=(5, 6)) if self.remat else Layer
        for index in range(self.config.layers):
            read = read_O if index == self.config.layers - 1 else None
            x_TxD = layer(self.config, self.dtype, index, name=f"layers_{index}")(
                x_TxD, position_ids_T, sequence_ids_T, read, rows, deterministic
            )
        return _layer_norm(self.config, self.dtype, "final_norm")(x_TxD)
