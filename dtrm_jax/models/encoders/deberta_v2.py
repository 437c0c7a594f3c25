"""DeBERTa-v2 over packed token sequences (v2, v3 and mDeBERTa): disentangled attention over relative positions.

The score of a query and a key is the sum of up to three products: content with content, content with the embedding of
the distance (c2p), and the embedding of the distance with content (p2c). Far distances share an embedding.

Everything about the family stands here: the sizes with how ``config.json`` is read, the names in a weight file, and
the module.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.encoders.bert import BertConfig, BertIntermediate, BertOutput
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.models.encoders.family import Target, embedding, layer_norm, linear
from dtrm_jax.models.layers.attention import RowBias, Rows, row_attention
from dtrm_jax.models.layers.bfloat16 import bfloat16_product, runs_in_bfloat16
from dtrm_jax.models.layers.dense import Weights, affine
from dtrm_jax.models.layers.dropout import Dropout

# Parts of the names of PyTorch's modules -> ours.
_RENAMED = {
    "encoder.rel_embeddings": "distances",
    "encoder.LayerNorm": "distances.LayerNorm",
    "encoder.conv": "convolution",
    "encoder.layer.": "layer_",
    "attention.self": "attention",
    "attention.output": "attention_output",
}
_INIT = nn.initializers.normal(0.02)
_ACTIVATIONS = {"gelu": lambda x: nn.gelu(x, approximate=False), "tanh": jnp.tanh}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DebertaV2Config(BertConfig):
    """Sizes of a DeBERTa-v2; ``dropout`` is the rate on the embeddings of distances too.

    Attributes:
        absolute_positions: Whether the embeddings hold the absolute position as well.
        longest_distance: The distance from which on all distances are the same.
        distance_buckets: Distances up to half of it have an embedding each, and farther ones share embeddings on a
            logarithmic scale. If 0, every distance below ``longest_distance`` has its own.
        content_to_position: Whether the scores have the term c2p.
        position_to_content: Whether the scores have the term p2c.
        share_projections: Whether the embeddings of distances are projected as the content is, or by weights of their
            own.
        norm_distances: Whether the embeddings of distances pass through a layer norm.
        convolution: Width of the convolution beside the first layer, odd. If 0, there is none.
        convolution_act: Its activation, "gelu" or "tanh".
    """

    family: ClassVar[str] = "deberta-v2"
    prefixes: ClassVar[tuple[str, ...]] = ("deberta.",)

    absolute_positions: bool
    longest_distance: int
    distance_buckets: int
    content_to_position: bool
    position_to_content: bool
    share_projections: bool
    norm_distances: bool
    convolution: int
    convolution_act: str

    @property
    def extras(self) -> tuple[str, ...]:
        """Heads of pre-training, a buffer, and the positions that v3's files hold and do not use."""
        extras = ("lm_predictions.", "cls.", "mask_predictions.", "pooler.", "embeddings.position_ids")
        return extras if self.absolute_positions else (*extras, "embeddings.position_embeddings.")

    @property
    def distances(self) -> int:
        """Embeddings of distances in one direction; the table has twice as many rows."""
        return self.distance_buckets or self.longest_distance

    @property
    def scale(self) -> float:
        """The factor of every term of the scores."""
        terms = 1 + self.content_to_position + self.position_to_content
        return (self.hidden_size // self.heads * terms) ** -0.5

    @property
    def position_projections(self) -> tuple[str, ...]:
        """Names of the weights that project the embeddings of distances alone."""
        if self.share_projections:
            return ()
        used = {"pos_key_proj": self.content_to_position, "pos_query_proj": self.position_to_content}
        return tuple(name for name, is_used in used.items() if is_used)

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "DebertaV2Config":
        """Reads the sizes; refuses other activations than the exact GELU, and attention without relative positions."""
        file.expect("hidden_act", "gelu")
        file.expect("relative_attention", True)
        hidden_size, heads = file.size("hidden_size"), file.size("num_attention_heads")
        file.check_heads("hidden_size", hidden_size, heads)
        file.expect("attention_head_size", hidden_size // heads, absent=hidden_size // heads)
        file.expect("conv_groups", 1, absent=1)
        embedding_size = file.values.get("embedding_size", hidden_size)
        if embedding_size != hidden_size:
            embedding_size = file.size("embedding_size")
        sizes = {
            "vocab_size": file.size("vocab_size"),
            "hidden_size": hidden_size,
            "layers": file.size("num_hidden_layers"),
            "heads": heads,
            "intermediate_size": file.size("intermediate_size"),
            "max_positions": file.size("max_position_embeddings"),
            "segment_types": file.size("type_vocab_size", least=0),
            "layer_norm_eps": file.small("layer_norm_eps", 1e-7),
            "embedding_size": 0 if embedding_size == hidden_size else embedding_size,
            "absolute_positions": file.expect("position_biased_input", True, False, absent=True),
            **_distances(file),
            **_terms(file),
            "share_projections": file.expect("share_att_key", False, True, absent=False),
            "norm_distances": file.expect("norm_rel_ebd", "none", "layer_norm", absent="none") == "layer_norm",
            "convolution": file.expect("conv_kernel_size", 0, 3, 5, 7, 9, absent=0),
            "convolution_act": file.expect("conv_act", *_ACTIVATIONS, absent="tanh"),
        }
        return cls(**{**settings, **sizes})

    def distance_rows(self, length: int) -> np.ndarray:
        """Returns which embedding each distance between slots of a row has.

        Args:
            length: Of the row, S.

        Returns:
            ``[2 S - 1]``, for the distances (position of the query minus that of the key) from ``1 - S`` to ``S - 1``.
        """
        distance = np.arange(1 - length, length)
        if self.distance_buckets:
            middle = self.distance_buckets // 2
            # In float32, so that a distance at the border of a bucket falls into the same bucket as in pre-training.
            far = np.maximum(abs(distance), middle).astype(np.float32) / np.float32(middle)
            share = np.log(far) / np.log(np.float32((self.longest_distance - 1) / middle))
            bucket = np.sign(distance) * (np.ceil(share * np.float32(middle - 1)).astype(int) + middle)
            distance = np.where(abs(distance) <= middle, distance, bucket)
        return np.clip(distance + self.distances, 0, 2 * self.distances - 1)

    def module(self, dtype: DTypeLike, *, remat: bool, name: str | None) -> nn.Module:
        """See ``Encoder.module``."""
        return DebertaV2(config=self, dtype=dtype, remat=remat, name=name)

    def arrays(self) -> dict[str, Target]:
        """See ``Encoder.arrays``."""
        width, embedded = self.hidden_size, self.embedding_size or self.hidden_size
        tables = {
            "embeddings.word_embeddings": (self.vocab_size, embedded),
            "embeddings.position_embeddings": (self.max_positions * self.absolute_positions, embedded),
            "embeddings.token_type_embeddings": (self.segment_types, embedded),
            "encoder.rel_embeddings": (2 * self.distances, width),
        }
        targets: dict[str, Target] = {}
        for module, (rows, columns) in tables.items():
            if rows:
                targets |= embedding(module, _path(module), rows, columns)
        if self.embedding_size:
            targets |= linear("embeddings.embed_proj", _path("embeddings.embed_proj"), embedded, width, bias=False)
        norms = {"embeddings.LayerNorm": True, "encoder.LayerNorm": self.norm_distances}
        norms["encoder.conv.LayerNorm"] = self.convolution
        for module, is_there in norms.items():
            if is_there:
                targets |= layer_norm(module, _path(module), width)
        if self.convolution:
            path, shape = _path("encoder.conv.conv"), (width, width, self.convolution)
            # Its axes are out, in, slots; transposed, slots, in, out.
            targets["encoder.conv.conv.weight"] = Target((*path, "kernel"), shape, transpose=True)
            targets["encoder.conv.conv.bias"] = Target((*path, "bias"), (width,))
        for index in range(self.layers):
            targets |= self._layer(f"encoder.layer.{index}")
        return targets

    def _layer(self, layer: str) -> dict[str, Target]:
        width, wide = self.hidden_size, self.intermediate_size
        projections = ("query_proj", "key_proj", "value_proj", *self.position_projections)
        sizes = {f"attention.self.{projection}": (width, width) for projection in projections}
        sizes |= {"attention.output.dense": (width, width)}
        sizes |= {"intermediate.dense": (width, wide), "output.dense": (wide, width)}
        targets: dict[str, Target] = {}
        for module, (inputs, outputs) in sizes.items():
            targets |= linear(f"{layer}.{module}", _path(f"{layer}.{module}"), inputs, outputs)
        for module in ("attention.output.LayerNorm", "output.LayerNorm"):
            targets |= layer_norm(f"{layer}.{module}", _path(f"{layer}.{module}"), width)
        return targets


def _terms(file: ConfigFile) -> dict[str, bool]:
    """Reads which terms the scores have beside content with content: ``p2c|c2p``, or a list."""
    found = file.values.get("pos_att_type")
    terms = found.lower().split("|") if isinstance(found, str) else found
    terms = {str(term).strip() for term in terms} if isinstance(terms, list) else set()
    if not terms or not terms <= {"c2p", "p2c"}:
        file.refuse("pos_att_type", "c2p, p2c or both")
    return {"content_to_position": "c2p" in terms, "position_to_content": "p2c" in terms}


def _distances(file: ConfigFile) -> dict[str, int]:
    """Reads how distances are told apart; numbers below 1 mean all positions, and no buckets."""
    longest, buckets = (file.values.get(key, -1) for key in ("max_relative_positions", "position_buckets"))
    if type(longest) is not int:
        file.refuse("max_relative_positions", "a whole number")
    if type(buckets) is not int:
        file.refuse("position_buckets", "a whole number")
    longest, buckets = longest if longest > 0 else file.size("max_position_embeddings"), max(buckets, 0)
    if buckets and not 1 <= buckets // 2 < longest - 1:
        file.refuse("position_buckets", f"2 to {2 * longest - 3}, for distances up to {longest}")
    return {"longest_distance": longest, "distance_buckets": buckets}


def _path(module: str) -> tuple[str, ...]:
    """Returns where a module of PyTorch's stands in our tree, which is flatter."""
    for theirs, ours in _RENAMED.items():
        module = module.replace(theirs, ours)
    return tuple(module.split("."))


class Embeddings(nn.Module):
    """Word embeddings, with positions and segments where the sizes say so, projected and normalised."""

    config: DebertaV2Config
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
        width = sizes.embedding_size or sizes.hidden_size

        def embed(name: str, rows: int, ids_T: Int[Array, " T"]) -> Float[Array, "T Ew"]:
            return nn.Embed(rows, width, embedding_init=_INIT, dtype=self.dtype, name=name)(ids_T)

        x = embed("word_embeddings", sizes.vocab_size, token_ids_T)
        if sizes.absolute_positions:
            x = x + embed("position_embeddings", sizes.max_positions, position_ids_T)
        if sizes.segment_types:
            one_T = segment_ids_T if sizes.segment_types > 1 else jnp.zeros_like(segment_ids_T)
            x = x + embed("token_type_embeddings", sizes.segment_types, one_T)
        if sizes.embedding_size:
            x = nn.Dense(sizes.hidden_size, use_bias=False, dtype=self.dtype, kernel_init=_INIT, name="embed_proj")(x)
        if sizes.learned_segments and sizes.segment_types < 2:
            zeros, name = nn.initializers.zeros, "learned_segment_embeddings"
            x = x + nn.Embed(2, sizes.hidden_size, embedding_init=zeros, dtype=self.dtype, name=name)(segment_ids_T)
        x = nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x)
        return Dropout(sizes.dropout)(x, deterministic)


class Distances(nn.Module):
    """The embeddings of distances, which all layers share."""

    config: DebertaV2Config
    dtype: DTypeLike

    @nn.compact
    def __call__(self, rows: Rows) -> Float[Array, "Di D"]:
        """Returns the embeddings of the distances that occur in these rows, in ascending order."""
        sizes = self.config
        table = self.param("embedding", _INIT, (2 * sizes.distances, sizes.hidden_size))
        occurring = sizes.distance_rows(_longest(rows))
        x_DixD = table[occurring[0] : occurring[-1] + 1].astype(self.dtype)
        if sizes.norm_distances:
            x_DixD = nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(x_DixD)
        return x_DixD


def _longest(rows: Rows) -> int:
    return max(length for length, _ in rows)


class Attention(nn.Module):
    """Disentangled self-attention inside each sequence, without the output projection."""

    config: DebertaV2Config
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        distance_DixD: Float[Array, "Di D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "T D"]:
        """Returns the attended values of every token slot."""
        sizes = self.config
        content = {name: self._weights(name) for name in ("query_proj", "key_proj", "value_proj")}
        # One product instead of three.
        kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*content.values(), strict=True))
        q, k, v = jnp.split(self._project(x_TxD, kernel, bias, 3 * sizes.heads), 3, axis=1)
        distance_DixD = Dropout(sizes.dropout)(distance_DixD, deterministic)
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
            bias=self._bias(distance_DixD, content, rows),
            scale=sizes.scale,
        )
        self.sow("intermediates", "weights", weights)
        return attended.reshape(-1, sizes.hidden_size)

    def _weights(self, name: str) -> tuple[Float[Array, "D D"], Float[Array, " D"]]:
        width = self.config.hidden_size
        return Weights(width, _INIT, name=name)(width)

    def _project(self, x: Array, kernel: Array, bias: Array, heads: int) -> Float[Array, "X H E"]:
        projected = affine(x, kernel, bias, self.dtype, self.config.products)
        return projected.reshape(len(x), heads, -1)

    def _bias(
        self, distance_DixD: Float[Array, "Di D"], content: dict[str, tuple[Array, Array]], rows: Rows
    ) -> RowBias:
        """Returns the function that computes the terms c2p and p2c for rows of one length."""
        sizes = self.config
        shared = sizes.share_projections
        keys_DixHxE = queries_DixHxE = None
        if sizes.content_to_position:
            weights = content["key_proj"] if shared else self._weights("pos_key_proj")
            keys_DixHxE = self._project(distance_DixD, *weights, sizes.heads)
        if sizes.position_to_content:
            weights = content["query_proj"] if shared else self._weights("pos_query_proj")
            queries_DixHxE = self._project(distance_DixD, *weights, sizes.heads)
        first = sizes.distance_rows(_longest(rows))[0]

        def bias(q: Array, k: Array, position_ids_RxS: Int[Array, "R S"]) -> Float[Array, "R H S S"]:
            length = position_ids_RxS.shape[1]
            occurring = sizes.distance_rows(length) - first
            part = slice(occurring[0], occurring[-1] + 1)
            distance_RxSxS = position_ids_RxS[:, :, None] - position_ids_RxS[:, None, :]
            slot_RxSxS = jnp.clip(distance_RxSxS + length - 1, 0, 2 * length - 2)
            index_RxSxS = jnp.asarray(occurring - occurring[0], jnp.int32)[slot_RxSxS]
            terms = []
            if keys_DixHxE is not None:
                terms.append(_at_distance(q, keys_DixHxE[part], index_RxSxS, sizes.products))
            if queries_DixHxE is not None:
                by_key = _at_distance(k, queries_DixHxE[part], index_RxSxS.swapaxes(1, 2), sizes.products)
                terms.append(by_key.swapaxes(2, 3))
            return jnp.swapaxes(sum(terms), 0, 1) * sizes.scale

        return bias


def _at_distance(
    x_RxSxHxE: Float[Array, "R S H E"],
    distance_DixHxE: Float[Array, "Di H E"],
    index_RxSxS: Int[Array, "R S S"],
    products: str,
) -> Float[Array, "H R S S"]:
    """Multiplies each slot's vector with that of its distance to each other slot.

    Args:
        x_RxSxHxE: Queries or keys.
        distance_DixHxE: Projected embeddings of distances.
        index_RxSxS: Which distance, counted from 0, each pair of slots has.
        products: As in ``attend``.
    """
    count, length, heads, width = x_RxSxHxE.shape
    # Heads first: one matrix product per head.
    x = jnp.moveaxis(x_RxSxHxE, 2, 0).reshape(heads, count * length, width)
    distance_HxExDi = jnp.transpose(distance_DixHxE, (1, 2, 0))
    low = products == "bfloat16" and runs_in_bfloat16()
    product = bfloat16_product(x, distance_HxExDi) if low else x @ distance_HxExDi
    product_HxRxSxDi = product.astype(jnp.float32).reshape(heads, count, length, -1)
    return jnp.take_along_axis(product_HxRxSxDi, index_RxSxS[None], axis=-1, mode="promise_in_bounds")


class Convolution(nn.Module):
    """The convolution beside the first layer of v2's larger models; it never crosses the border of a sequence."""

    config: DebertaV2Config
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        layer_OxD: Float[Array, "O D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        read_O: Int[Array, " O"] | None,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns ``LayerNorm(layer + act(dropout(conv(x))))``.

        Args:
            x_TxD: The embeddings.
            layer_OxD: The output of the first layer, at every slot or at ``read_O``.
            position_ids_T: Positions in each sequence.
            sequence_ids_T: Sequence of each slot.
            read_O: Slots whose states are wanted. If None, all are.
            deterministic: No dropout.
        """
        sizes = self.config
        near = neighbours(x_TxD, position_ids_T, sequence_ids_T, sizes.convolution // 2)
        near = near if read_O is None else near[read_O]
        out_OxD = ConvolutionProduct(sizes, self.dtype, name="conv")(near)
        out_OxD = _ACTIVATIONS[sizes.convolution_act](Dropout(sizes.dropout)(out_OxD, deterministic))
        return nn.LayerNorm(sizes.layer_norm_eps, dtype=self.dtype, name="LayerNorm")(layer_OxD + out_OxD)


class ConvolutionProduct(nn.Module):
    """The weights of a one-dimensional convolution, applied to neighbours that lie side by side."""

    config: DebertaV2Config
    dtype: DTypeLike

    @nn.compact
    def __call__(self, near_XxI: Float[Array, "X I"]) -> Float[Array, "X D"]:
        """Returns the convolution at each position, from the result of ``neighbours``."""
        width, size = self.config.hidden_size, self.config.convolution
        kernel = self.param("kernel", _INIT, (size, width, width)).reshape(size * width, width)
        bias = self.param("bias", nn.initializers.zeros, (width,))
        return affine(near_XxI, kernel, bias, self.dtype, self.config.products)


def neighbours(
    x_TxD: Float[Array, "T D"], position_ids_T: Int[Array, " T"], sequence_ids_T: Int[Array, " T"], reach: int
) -> Float[Array, "T I"]:
    """Lays each slot's neighbours, ``reach`` to each side, side by side: ``[T, (2 reach + 1) D]``.

    Where the token's own sequence has no such neighbour, there are zeros.
    """
    parts = []
    for offset in range(-reach, reach + 1):
        x, position, sequence = (jnp.roll(y, -offset, axis=0) for y in (x_TxD, position_ids_T, sequence_ids_T))
        is_neighbour_T = (sequence == sequence_ids_T) & (position - position_ids_T == offset)
        parts.append(jnp.where(is_neighbour_T[:, None], x, 0))
    return jnp.concatenate(parts, axis=-1)


class Layer(nn.Module):
    """One post-layer-norm layer: BERT's, with disentangled attention."""

    config: DebertaV2Config
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_TxD: Float[Array, "T D"],
        distance_DixD: Float[Array, "Di D"],
        position_ids_T: Int[Array, " T"],
        sequence_ids_T: Int[Array, " T"],
        read_O: Int[Array, " O"] | None,
        rows: Rows,
        deterministic: bool,
    ) -> Float[Array, "O D"]:
        """Returns the hidden states of every slot, or only of ``read_O``."""
        sizes = self.config
        attention = Attention(sizes, self.dtype, name="attention")
        attended = attention(x_TxD, distance_DixD, position_ids_T, sequence_ids_T, rows, deterministic)
        if read_O is not None:
            attended, x_TxD = attended[read_O], x_TxD[read_O]
        x = BertOutput(sizes, self.dtype, name="attention_output")(attended, x_TxD, deterministic)
        hidden = BertIntermediate(sizes, self.dtype, name="intermediate")(x)
        return BertOutput(sizes, self.dtype, name="output")(hidden, x, deterministic)


class DebertaV2(nn.Module):
    """DeBERTa-v2 over packed token sequences.

    Attributes:
        config: Sizes and dropout rates.
        dtype: Of the computation; parameters are float32.
        remat: Recompute each layer in the backward pass.
    """

    config: DebertaV2Config
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
        sizes = self.config
        embeddings = Embeddings(sizes, self.dtype, name="embeddings")
        x_TxD = first_TxD = embeddings(token_ids_T, position_ids_T, segment_ids_T, deterministic)
        distance_DixD = Distances(sizes, self.dtype, name="distances")(rows)
        layer = nn.remat(Layer, static_argnums=(6, 7)) if self.remat else Layer
        for index in range(sizes.layers):
            read = read_O if index == sizes.layers - 1 else None
            x_TxD = layer(sizes, self.dtype, name=f"layer_{index}")(
                x_TxD, distance_DixD, position_ids_T, sequence_ids_T, read, rows, deterministic
            )
            if index == 0 and sizes.convolution:
                convolution = Convolution(sizes, self.dtype, name="convolution")
                x_TxD = convolution(first_TxD, x_TxD, position_ids_T, sequence_ids_T, read, deterministic)
        return x_TxD
