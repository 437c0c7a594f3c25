"""The Transformer encoder of ``torch.nn.TransformerEncoderLayer``'s defaults: post-layer-norm, ReLU, eps 1e-5."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.config import FusionConfig, IntraModalConfig
from dtrm_jax.models.layers.attention import Drop
from dtrm_jax.models.layers.dropout import Dropout

# torch's initialisation: in_proj is Xavier-uniform over the fused [3D, D] matrix, Linear is U(-1/sqrt(fan_in),
# 1/sqrt(fan_in)).
IN_PROJECTION_INIT = nn.initializers.variance_scaling(0.5, "fan_in", "uniform")
LINEAR_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# (queries, keys, values, drop) -> (attended values, weights): how the positions are arranged and who sees whom.
Arrangement = Callable[[Array, Array, Array, Drop], tuple[Array, Array]]


class Attention(nn.Module):
    """Multi-head attention with biases on all four projections.

    Attributes:
        heads: H; must divide the width.
        dropout: Rate on the attention weights.
        dtype: Of the computation.
    """

    heads: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "... X D"],
        arrangement: Arrangement,
        deterministic: bool,
        source: Float[Array, "... X D"] | None = None,
    ) -> Float[Array, "... X D"]:
        """Projects, attends as ``arrangement`` says, projects back.

        Args:
            x: The states that queries are computed from.
            arrangement: Who sees whom.
            deterministic: Without dropout.
            source: The states that keys and values are computed from. If None, it is ``x``, and this is self-attention.
        """
        source = x if source is None else source
        width = x.shape[-1]
        if width % self.heads:
            raise ValueError(f"attention: expected a width divisible by {self.heads} heads, found {width}")
        split = (*x.shape[:-1], self.heads, width // self.heads)
        q, k, v = (
            nn.Dense(width, dtype=self.dtype, kernel_init=IN_PROJECTION_INIT, name=name)(of).reshape(split)
            for name, of in (("query", x), ("key", source), ("value", source))
        )
        drop_weights = Dropout(self.dropout)
        attended, weights = arrangement(q, k, v, lambda w: drop_weights(w, deterministic))
        self.sow("intermediates", "weights", weights)
        return nn.Dense(width, dtype=self.dtype, kernel_init=LINEAR_INIT, name="out")(attended.reshape(x.shape))


def feed_forward(
    x: Float[Array, "... X D"], size: int, drop: Dropout, dtype: DTypeLike, deterministic: bool
) -> Float[Array, "... X D"]:
    """``W_2 drop(relu(W_1 x + b_1)) + b_2``; the weights, ``linear1`` and ``linear2``, are the calling module's."""
    hidden = nn.relu(nn.Dense(size, dtype=dtype, kernel_init=LINEAR_INIT, name="linear1")(x))
    hidden = drop(hidden, deterministic)
    return nn.Dense(x.shape[-1], dtype=dtype, kernel_init=LINEAR_INIT, name="linear2")(hidden)


class TransformerLayer(nn.Module):
    """One layer: attention and feed-forward, each followed by dropout, residual and layer norm."""

    heads: int
    feed_forward: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "... X D"],
        arrangement: Arrangement,
        deterministic: bool,
        source: Float[Array, "... X D"] | None = None,
    ) -> Float[Array, "... X D"]:
        """Returns the layer's output at every position; the arguments are those of ``Attention``."""
        drop = Dropout(self.dropout)
        attention = Attention(heads=self.heads, dropout=self.dropout, dtype=self.dtype, name="attention")
        attended = attention(x, arrangement, deterministic, source)
        x = nn.LayerNorm(1e-5, dtype=self.dtype, name="norm1")(x + drop(attended, deterministic))
        hidden = feed_forward(x, self.feed_forward, drop, self.dtype, deterministic)
        return nn.LayerNorm(1e-5, dtype=self.dtype, name="norm2")(x + drop(hidden, deterministic))


class Transformer(nn.Module):
    """A stack of ``TransformerLayer``; no final norm, as ``torch.nn.TransformerEncoder``.

    Attributes:
        config: Sizes, and the rate of every dropout inside; without layers, the input is returned.
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
    """

    config: IntraModalConfig | FusionConfig
    dtype: DTypeLike
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "... X D"], arrangement: Arrangement, deterministic: bool
    ) -> Float[Array, "... X D"]:
        """Returns the last layer's output at every position."""
        config = self.config
        layer_class = nn.remat(TransformerLayer, static_argnums=(2, 3)) if self.remat else TransformerLayer
        for index in range(config.layers):
            layer = layer_class(
                heads=config.heads,
                feed_forward=config.feed_forward,
                dropout=config.dropout,
                dtype=self.dtype,
                name=f"layer_{index}",
            )
            x = layer(x, arrangement, deterministic)
        return x


def mean_over_layers(sown: Mapping[str, Any], of_layer: Callable[[Array], Array]) -> Array:
    """Applies ``of_layer`` to the attention weights of each layer of a ``Transformer``; returns the mean over layers.

    Args:
        sown: The "intermediates" of the module whose ``Transformer`` is called "transformer".
        of_layer: Maps the weights of one layer.
    """
    layers = [layer["attention"]["weights"][0] for layer in sown["transformer"].values()]
    return jnp.stack([of_layer(weights) for weights in layers]).mean(axis=0)
