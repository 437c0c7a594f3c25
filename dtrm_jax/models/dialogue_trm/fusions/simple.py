"""The fusions that the paper compares MGIF with (Table 5): the simple ones and GMU; and one place that builds any.

Each maps the representations of the modalities to one vector a turn, ``o_i``. ``r_m`` is the representation of modality
``m``, and a modality that a turn lacks takes no part in it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.fusions.bilinear import Bilinear
from dtrm_jax.models.dialogue_trm.fusions.mgif import MGIF, Gate, GatedConcat
from dtrm_jax.models.dialogue_trm.fusions.mult import MulT
from dtrm_jax.models.dialogue_trm.representations import LETTERS, Place, Presence, Representations, ordered, zero_absent
from dtrm_jax.models.layers.transformer import LINEAR_INIT

# The kinds whose attention has ``config.heads`` heads.
WITH_HEADS = ("mgif", "mgif_without_prototype", "mult")


class Additive(nn.Module):
    """``o = sum_m r_m``."""

    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the sum of what is present; zeros where nothing is."""
        return sum(zero_absent(r_UxD, present_U))


class Concat(nn.Module):
    """``o = W [r_1; r_2; ...] + b``, back to the width of the model.

    Attributes:
        dtype: Of the computation.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projected concatenation; what is absent is zeros."""
        parts = zero_absent(r_UxD, present_U)
        project = nn.Dense(parts[0].shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")
        return project(jnp.concatenate(parts, axis=-1))


class MaxPooling(nn.Module):
    """``o = max_m r_m``, neuron by neuron."""

    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the largest of what is present; zeros where nothing is."""
        low = jnp.finfo(next(iter(r_UxD.values())).dtype).min
        stacked = jnp.stack([jnp.where(present_U[name][:, None], r_UxD[name], low) for name in r_UxD])
        present = jnp.stack([present_U[name] for name in r_UxD]).any(axis=0)
        return jnp.where(present[:, None], stacked.max(axis=0), 0)


class GMU(nn.Module):
    """The gated multimodal unit (Arevalo et al. 2017, 2020), with ``h_m = tanh(W_m r_m)``.

    Two modalities share a gate: ``o = z * h_1 + (1 - z) * h_2``, ``z = sigmoid(W_z [r_1; r_2])``, the two outputs of
    MGIF's gate added; where a turn lacks one, the other passes whole. Three have one each: ``o = sum_m z_m * h_m``,
    ``z_m = sigmoid(W_zm [r_1; r_2; r_3])``, sown as ``value_u`` and so on. The authors write no biases.

    Attributes:
        dtype: Of the computation.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, place: Place, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the gated sum of what is present; zeros where nothing is."""
        names = ordered(r_UxD)
        if len(names) == 2:
            gated = Gate(self.dtype, name="gate")(*(r_UxD[n] for n in names), *(present_U[n] for n in names))
        else:
            all_UxPD = jnp.concatenate(zero_absent(r_UxD, present_U), axis=-1)
            gated = [self._gate(LETTERS[name], r_UxD[name], all_UxPD) for name in names]
        return sum(zero_absent(dict(zip(names, gated, strict=True)), present_U))

    @nn.nowrap
    def _gate(self, letter: str, r_UxD: Float[Array, "U D"], all_UxPD: Float[Array, "U PD"]) -> Float[Array, "U D"]:
        h_map, z_map = (
            nn.Dense(
                r_UxD.shape[-1], use_bias=False, dtype=self.dtype, kernel_init=LINEAR_INIT, name=f"{kind}_{letter}"
            )
            for kind in "hz"
        )
        z_UxD = jax.nn.sigmoid(z_map(all_UxPD))
        self.sow("intermediates", f"value_{letter}", z_UxD)
        return z_UxD * jnp.tanh(h_map(r_UxD))


def build_fusion(config: FusionConfig, window: int, dtype: jnp.dtype, remat: bool, name: str) -> nn.Module:
    """Builds the configured fusion: ``(representations, presence, place, deterministic) -> [U, D]``."""
    kinds = {
        "mgif": lambda: MGIF(config, dtype, remat, name=name),
        "mgif_without_representation": lambda: GatedConcat(dtype, name=name),
        "mgif_without_prototype": lambda: MGIF(config, dtype, remat, gates=False, name=name),
        "additive": lambda: Additive(name=name),
        "concat": lambda: Concat(dtype, name=name),
        "max": lambda: MaxPooling(name=name),
        "bilinear": lambda: Bilinear(config.sketch, config.seed, dtype, name=name),
        "gmu": lambda: GMU(dtype, name=name),
        "mult": lambda: MulT(config, window, dtype, remat, name=name),
    }
    return kinds[config.kind]()
