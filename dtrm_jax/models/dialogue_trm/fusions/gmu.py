"""The gated multimodal unit (Arevalo et al. 2017, 2020)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.dialogue_trm.fusions.fusion import (
    LETTERS,
    Fusion,
    Position,
    Presence,
    Representations,
    ordered,
    zero_absent,
)
from dtrm_jax.models.dialogue_trm.fusions.mgif import Gate
from dtrm_jax.models.layers.transformer import LINEAR_INIT


class GMU(Fusion):
    """The gated multimodal unit, with ``h_m = tanh(W_m r_m)``.

    Two modalities share a gate: ``o = z * h_1 + (1 - z) * h_2``, ``z = sigmoid(W_z [r_1; r_2])``, the two outputs of
    MGIF's gate added; where a turn lacks one, the other passes unchanged. Three have one each: ``o = sum_m z_m * h_m``,
    ``z_m = sigmoid(W_zm [r_1; r_2; r_3])``, sown as ``value_u`` and so on. The authors write no biases.
    """

    title = "GMU"

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the gated sum of what is present; zeros where nothing is."""
        names = ordered(r_UxD)
        if len(names) == 2:
            gated = Gate(self.dtype, name="gate")(*(r_UxD[n] for n in names), *(present_U[n] for n in names))
        else:
            all_UxI = jnp.concatenate(zero_absent(r_UxD, present_U), axis=-1)
            gated = [self._gate(LETTERS[name], r_UxD[name], all_UxI) for name in names]
        return sum(zero_absent(dict(zip(names, gated, strict=True)), present_U))

    @nn.nowrap
    def _gate(self, letter: str, r_UxD: Float[Array, "U D"], all_UxI: Float[Array, "U I"]) -> Float[Array, "U D"]:
        h_map, z_map = (
            nn.Dense(
                r_UxD.shape[-1], use_bias=False, dtype=self.dtype, kernel_init=LINEAR_INIT, name=f"{kind}_{letter}"
            )
            for kind in "hz"
        )
        z_UxD = jax.nn.sigmoid(z_map(all_UxI))
        self.sow("intermediates", f"value_{letter}", z_UxD)
        return z_UxD * jnp.tanh(h_map(r_UxD))
