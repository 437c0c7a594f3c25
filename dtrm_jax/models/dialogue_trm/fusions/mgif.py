"""Inter-modal emotion dynamics (section 4.2): the multi-grained interactive fusion, MGIF, and its ablations (Table 5).

Modalities are handled in one fixed order, utterance, acoustic, visual, and so are their pairs. A turn may lack a
modality. If one modality of a pair is absent, the gate passes the other unchanged, and the gated vector of the absent
one is masked in the Transformer. A turn that lacks all modalities is left with ``e_CLS``.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.models.dialogue_trm.fusions.fusion import (
    LETTERS,
    Fusion,
    Position,
    Presence,
    Representations,
    ordered,
)
from dtrm_jax.models.layers.attention import Drop, attend
from dtrm_jax.models.layers.transformer import LINEAR_INIT, Transformer, mean_over_layers


class Gate(nn.Module):
    """``h_xy, h_yx = GATE(r_x, r_y)`` (eq. 7 to 12): a trade-off between two vectors, neuron by neuron.

    The paper writes no biases, and there are none. Each pair has weights of its own. The gate's values ``z``, the share
    of the first, are sown as ``value`` ``[U, D]``.

    Attributes:
        dtype: Of the computation.
    """

    dtype: DTypeLike

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
        # Where one of the two is absent, the other passes unchanged.
        z_UxD = jnp.where(has_y_U[:, None], z_UxD, 1.0)
        z_UxD = jnp.where(has_x_U[:, None], z_UxD, 0.0).astype(self.dtype)
        self.sow("intermediates", "value", z_UxD)
        return z_UxD * hx_UxD, (1 - z_UxD) * hy_UxD


class MGIF(Fusion):
    """Multi-grained interactive fusion: gated pairs (prototype dependency), then a Transformer (eq. 15 and 16).

    The sequence is ``e_CLS`` and, for every pair, the gated vectors of the first and of the second modality:
    ``e h_ua h_au h_uv h_vu h_av h_va``. Every position sees every other that is present.

    Gates and the attention weights of every layer, ``[U, H, P, P]``, are sown.
    """

    title = "MGIF"
    has_heads = True
    names_modalities = True
    gates: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the last layer's state at ``e_CLS``."""
        first = next(iter(r_UxD.values()))
        utterances, width = first.shape
        e_D = self.param("e_cls", nn.initializers.normal(0.02), (width,))
        vectors, present = (gated if self.gates else _as_they_are)(r_UxD, present_U, self.dtype)
        e_UxD = jnp.broadcast_to(e_D, (utterances, width)).astype(self.dtype)
        m_UxPxD = jnp.stack([e_UxD, *vectors], axis=1)
        seen_UxP = jnp.stack([jnp.ones(utterances, bool), *present], axis=1)

        def unmasked(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
            return attend(q, k, v, jnp.broadcast_to(seen_UxP[:, None, :], (*seen_UxP.shape, seen_UxP.shape[1])), drop)

        transformer = Transformer(config=self.config, dtype=self.dtype, remat=self.remat, name="transformer")
        return transformer(m_UxPxD, unmasked, deterministic)[:, 0]

    @nn.nowrap
    def summarise(self, sown: Mapping[str, Any], present_U: Presence) -> dict[str, Float[Array, " U"]]:
        """Returns the gates of ``mean_gates`` and, for every position, ``fusion_<position>``.

        That is the attention of ``e_CLS`` on the position (eq. 15), averaged over heads and layers, float32, NaN where
        the turn lacks the position's modality.
        """
        result = mean_gates(sown, present_U) if self.gates else {}
        if not self.config.layers:
            return result
        weights_UxP = mean_over_layers(
            sown, lambda weights_UxHxPxP: weights_UxHxPxP[:, :, 0].astype(jnp.float32).mean(axis=1)
        )
        for index, name in enumerate(self.positions(present_U)):
            there_U = present_U[MODALITIES[name[0]]] if index else True
            result[f"fusion_{name}"] = jnp.where(there_U, weights_UxP[:, index], jnp.nan)
        return result

    @classmethod
    def positions(cls, modalities: Iterable[str]) -> list[str]:
        """Returns the names of the sequence's positions: ``e_CLS``, ``ua``, ``au``, ..."""
        letters = [(LETTERS[x], LETTERS[y]) for x, y in pairs(modalities)]
        return ["e_CLS", *(name for x, y in letters for name in (x + y, y + x))]


class UngatedMGIF(MGIF):
    """MGIF "w/o prototype dependency" (Table 5): the sequence is ``e r_u r_a r_v``, the representations unchanged."""

    title = "MGIF w/o prototype dependency"
    gates = False

    @classmethod
    def positions(cls, modalities: Iterable[str]) -> list[str]:
        """Returns the names of the sequence's positions: ``e_CLS``, ``u``, ``a``, ..."""
        return ["e_CLS", *(LETTERS[name] for name in ordered(modalities))]


class GatedConcat(Fusion):
    """MGIF "w/o representation dependency" (Table 5): ``o = W [h_ua; h_au; h_uv; h_vu; h_av; h_va] + b``."""

    title = "MGIF w/o representation dependency"

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projected gated vectors; those of absent modalities are zeros."""
        vectors, present = gated(r_UxD, present_U, self.dtype)
        h_UxI = jnp.concatenate([jnp.where(has[:, None], h, 0) for h, has in zip(vectors, present, strict=True)], -1)
        return nn.Dense(vectors[0].shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")(h_UxI)

    @nn.nowrap
    def summarise(self, sown: Mapping[str, Any], present_U: Presence) -> dict[str, Float[Array, " U"]]:
        """Returns the gates, as ``mean_gates``."""
        return mean_gates(sown, present_U)


def gated(
    r_UxD: Representations, present_U: Presence, dtype: DTypeLike
) -> tuple[list[Float[Array, "U D"]], list[Bool[Array, " U"]]]:
    """Returns the two gated vectors of every pair (eq. 12 to 14) and where each is present.

    The gates, ``gate_ua`` and so on, are the calling module's.
    """
    vectors, present = [], []
    for x, y in pairs(r_UxD):
        gate = Gate(dtype, name=f"gate_{LETTERS[x]}{LETTERS[y]}")
        vectors += gate(r_UxD[x], r_UxD[y], present_U[x], present_U[y])
        present += [present_U[x], present_U[y]]
    return vectors, present


def _as_they_are(
    r_UxD: Representations, present_U: Presence, dtype: DTypeLike
) -> tuple[list[Float[Array, "U D"]], list[Bool[Array, " U"]]]:
    names = ordered(r_UxD)
    return [r_UxD[name].astype(dtype) for name in names], [present_U[name] for name in names]


def pairs(modalities: Iterable[str]) -> list[tuple[str, str]]:
    """Returns the pairs of modalities in the fixed order (u, a), (u, v), (a, v)."""
    return list(itertools.combinations(ordered(modalities), 2))


def mean_gates(sown: Mapping[str, Any], present_U: Presence) -> dict[str, Float[Array, " U"]]:
    """Returns ``gate_xy`` for every pair: the mean over neurons of its gate (eq. 11), the share of the first.

    They are float32, and NaN where a turn lacks one of the two, because the gate then has nothing to weigh.
    """
    result = {}
    for x, y in pairs(present_U):
        name = f"gate_{LETTERS[x]}{LETTERS[y]}"
        (z_UxD,) = sown[name]["value"]
        both_U = present_U[x] & present_U[y]
        result[name] = jnp.where(both_U, z_UxD.astype(jnp.float32).mean(axis=1), jnp.nan)
    return result
