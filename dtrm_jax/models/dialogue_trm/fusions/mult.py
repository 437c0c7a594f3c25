"""MulT, the multimodal Transformer (Tsai et al. 2019): every modality attends to every other, over the turns.

A turn sees itself and the K turns before it (eq. 3), and later ones only where ``config.tokens.future`` says so. In
each modality it sees the turns that have the modality. As everywhere above the encoder, the order of turns is known
from the window alone: the sinusoids of the original are left out.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array
from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.fusions.fusion import LETTERS, Fusion, Position, Presence, Representations, ordered
from dtrm_jax.models.layers.attention import Drop
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.transformer import LINEAR_INIT, Arrangement, Attention, feed_forward
from dtrm_jax.models.layers.windowed import WindowedAttention


class CrossmodalLayer(nn.Module):
    """``x' = x + CM(LN(x), LN(s))``, then ``x' + FFN(LN'(x'))``: layer norm before, residuals around everything.

    ``CM`` takes its queries from ``x``, its keys and values from the source ``s``; one norm serves both, as in the
    authors' code.
    """

    heads: int
    feed_forward: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self,
        x_UxD: Float[Array, "U D"],
        source_UxD: Float[Array, "U D"] | None,
        arrangement: Arrangement,
        deterministic: bool,
    ) -> Float[Array, "U D"]:
        """Returns the layer's output; without a source, ``x`` is its own."""
        norm1, norm2 = (nn.LayerNorm(1e-5, dtype=self.dtype, name=name) for name in ("norm1", "norm2"))
        drop = Dropout(self.dropout)
        attention = Attention(heads=self.heads, dropout=self.dropout, dtype=self.dtype, name="attention")
        source_UxD = None if source_UxD is None else norm1(source_UxD)
        x_UxD = x_UxD + drop(attention(norm1(x_UxD), arrangement, deterministic, source_UxD), deterministic)
        hidden = feed_forward(norm2(x_UxD), self.feed_forward, drop, self.dtype, deterministic)
        return x_UxD + drop(hidden, deterministic)


class CrossmodalTransformer(nn.Module):
    """A stack of ``CrossmodalLayer``, all with the same source, and a final layer norm.

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
    """

    config: FusionConfig
    dtype: DTypeLike
    remat: bool

    @nn.compact
    def __call__(
        self,
        x_UxD: Float[Array, "U D"],
        source_UxD: Float[Array, "U D"] | None,
        arrangement: Arrangement,
        deterministic: bool,
    ) -> Float[Array, "U D"]:
        """Returns the last layer's output; without a source, self-attention."""
        config = self.config
        layer_class = nn.remat(CrossmodalLayer, static_argnums=(3, 4)) if self.remat else CrossmodalLayer
        for index in range(config.layers):
            layer = layer_class(
                heads=config.heads,
                feed_forward=config.feed_forward,
                dropout=config.dropout,
                dtype=self.dtype,
                name=f"layer_{index}",
            )
            x_UxD = layer(x_UxD, source_UxD, arrangement, deterministic)
        return nn.LayerNorm(1e-5, dtype=self.dtype, name="norm")(x_UxD)


class MulT(Fusion):
    """``o = W [t_u; t_a; t_v] + b`` with ``t_x = T_x([C_yx(r_x, r_y); C_zx(r_x, r_z)])``.

    ``C_yx`` is the crossmodal Transformer from source ``y`` to target ``x`` (``y_to_x``), ``T_x`` one of
    self-attention over the target's joined outputs (``x``), each of ``config.layers`` layers. A crossmodal one sees K
    turns back and F ahead, self-attention as many in each layer.

    A turn that lacks the source is no key; where a turn sees no key at all, attention adds nothing. The ``t_x`` of a
    turn that lacks the target is zeros, and no other turn sees it.
    """

    title = "MulT"
    has_heads = True
    sees_other_turns = True

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projection of all targets; its bias where nothing is present."""
        r_UxD = {name: r_UxD[name] for name in ordered(r_UxD)}
        seeing = {name: self._seeing(present_U[name], position) for name in r_UxD}
        targets = []
        for target in r_UxD:
            crossed = [
                self._transformer(f"{LETTERS[source]}_to_{LETTERS[target]}")(
                    r_UxD[target], r_UxD[source], seeing[source], deterministic
                )
                for source in r_UxD
                if source != target
            ]
            joined = jnp.concatenate(crossed, axis=-1)
            t = self._transformer(LETTERS[target])(joined, None, seeing[target], deterministic)
            targets.append(jnp.where(present_U[target][:, None], t, 0))
        width = next(iter(r_UxD.values())).shape[-1]
        project = nn.Dense(width, dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")
        return project(jnp.concatenate(targets, axis=-1))

    @nn.nowrap
    def _transformer(self, name: str) -> CrossmodalTransformer:
        return CrossmodalTransformer(self.config, self.dtype, self.remat, name=name)

    @nn.nowrap
    def _seeing(self, seen_U: Bool[Array, " U"], position: Position) -> Arrangement:
        """Returns attention over the turns that have a modality, within the window."""

        def seeing(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
            attention = WindowedAttention(self.window, self.future, name="window")
            return attention(q, k, v, *position, drop, seen_U=seen_U)

        return seeing
