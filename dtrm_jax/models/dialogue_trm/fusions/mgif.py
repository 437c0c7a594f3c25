"""Inter-modal emotion dynamics (section 4.2): the multi-grained interactive fusion, MGIF, and its ablations (Table 5).

Modalities are handled in one fixed order, utterance, acoustic, visual, and so are their pairs. A turn may lack a
modality: the gate of a pair whose counterpart is absent has nothing to weigh and is 1, so that the present one passes
whole, and the absent one's gated vector is masked in the Transformer. A turn that lacks all of them is left with
``e_CLS``.
"""

import itertools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.representations import LETTERS, Place, Presence, Representations, ordered
from dtrm_jax.models.layers.attention import Drop, attend
from dtrm_jax.models.layers.transformer import LINEAR_INIT, Transformer


class Gate(nn.Module):
    """``h_xy, h_yx = GATE(r_x, r_y)`` (eq. 7 to 12): a trade-off between two vectors, neuron by neuron.

    The paper writes no biases, and there are none. Each pair has weights of its own. The gate's values ``z``, the share
    of the first, are sown as ``value`` ``[U, D]``.

    Attributes:
        dtype: Of the computation.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self,
        x_UxD: Float[Array, "U D"],
        y_UxD: Float[Array, "U D"],
        has_x_U: Bool[Array, " U"],
        has_y_U: Bool[Array, " U"],
    ) -> tuple[Float[Array, "U D"], Float[Array, "U D"]]:
        """Returns the two gated vectors."""
        width = x_UxD.shape[-1]
        x_map, y_map, z_map = (
            nn.Dense(width, use_bias=False, dtype=self.dtype, kernel_init=LINEAR_INIT, name=name) for name in "xyz"
        )
        hx_UxD, hy_UxD = jnp.tanh(x_map(x_UxD)), jnp.tanh(y_map(y_UxD))
        z_UxD = jax.nn.sigmoid(z_map(jnp.concatenate([x_UxD, y_UxD], axis=-1)))
        # Where one of the two is absent, the other passes whole.
        z_UxD = jnp.where(has_y_U[:, None], z_UxD, 1.0)
        z_UxD = jnp.where(has_x_U[:, None], z_UxD, 0.0).astype(self.dtype)
        self.sow("intermediates", "value", z_UxD)
        return z_UxD * hx_UxD, (1 - z_UxD) * hy_UxD


class MGIF(nn.Module):
    """Multi-grained interactive fusion: gated pairs (prototype dependency), then a Transformer (eq. 15 and 16).

    The sequence is ``e_CLS`` and, for every pair, the first's and the second's gated vector: ``e h_ua h_au h_uv h_vu
    h_av h_va``. Every position sees every other that is present.

    Without gates ("w/o prototype dependency" of Table 5) the sequence is ``e r_u r_a r_v``, the representations as they
    are.

    Gates and the attention weights of every layer, ``[U, H, P, P]``, are sown (``evaluation.inspection`` reads them).

    Attributes:
        config: Sizes.
        dtype: Of the computation.
        remat: Recompute each layer in the backward pass.
        gates: With prototype dependency.
    """

    config: FusionConfig
    dtype: jnp.dtype
    remat: bool = False
    gates: bool = True

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Fuses the modalities' representations into one a turn.

        Args:
            r_UxD: Modality -> representations, two or three of them.
            present_U: Modality -> whether the turn has it.
            place: Not used; every turn is fused by itself.
            deterministic: Without dropout.
        """
        first = next(iter(r_UxD.values()))
        utterances, width = first.shape
        e_D = self.param("e_cls", nn.initializers.normal(0.02), (width,))
        vectors, present = (gated if self.gates else _as_they_are)(r_UxD, present_U, self.dtype)
        e_UxD = jnp.broadcast_to(e_D, (utterances, width)).astype(self.dtype)
        m_UxPxD = jnp.stack([e_UxD, *vectors], axis=1)
        seen_UxP = jnp.stack([jnp.ones(utterances, bool), *present], axis=1)

        def unmasked(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
            return attend(q, k, v, jnp.broadcast_to(seen_UxP[:, None, :], (*seen_UxP.shape, seen_UxP.shape[1])), drop)

        config = self.config
        transformer = Transformer(
            *(config.layers, config.heads, config.feed_forward, config.dropout, self.dtype, self.remat),
            name="transformer",
        )
        return transformer(m_UxPxD, unmasked, deterministic)[:, 0]


class GatedConcat(nn.Module):
    """``o = W [h_ua; h_au; h_uv; h_vu; h_av; h_va] + b``: MGIF "w/o representation dependency" (Table 5).

    Attributes:
        dtype: Of the computation.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projected gated vectors; those of what is absent are zeros."""
        vectors, present = gated(r_UxD, present_U, self.dtype)
        h_UxPD = jnp.concatenate([jnp.where(has[:, None], h, 0) for h, has in zip(vectors, present, strict=True)], -1)
        return nn.Dense(vectors[0].shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")(h_UxPD)


def gated(
    r_UxD: Representations, present_U: Presence, dtype: jnp.dtype
) -> tuple[list[Float[Array, "U D"]], list[Bool[Array, " U"]]]:
    """Returns the two gated vectors of every pair (eq. 12 to 14) and where each is there.

    The gates, ``gate_ua`` and so on, are the calling module's.
    """
    vectors, present = [], []
    for x, y in pairs(r_UxD):
        gate = Gate(dtype, name=f"gate_{LETTERS[x]}{LETTERS[y]}")
        vectors += gate(r_UxD[x], r_UxD[y], present_U[x], present_U[y])
        present += [present_U[x], present_U[y]]
    return vectors, present


def _as_they_are(
    r_UxD: Representations, present_U: Presence, dtype: jnp.dtype
) -> tuple[list[Float[Array, "U D"]], list[Bool[Array, " U"]]]:
    names = ordered(r_UxD)
    return [r_UxD[name].astype(dtype) for name in names], [present_U[name] for name in names]


def pairs(modalities: Mapping[str, object]) -> list[tuple[str, str]]:
    """Returns the pairs of modalities in the fixed order (u, a), (u, v), (a, v)."""
    return list(itertools.combinations(ordered(modalities), 2))


def positions(modalities: Mapping[str, object]) -> list[str]:
    """Returns the names of MGIF's sequence positions: ``e_CLS``, ``ua``, ``au``, ..."""
    letters = [(LETTERS[x], LETTERS[y]) for x, y in pairs(modalities)]
    return ["e_CLS", *(name for x, y in letters for name in (x + y, y + x))]
