"""The simple fusions of Table 5: sum, concatenation, maximum."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.dialogue_trm.fusions.fusion import Fusion, Position, Presence, Representations, zero_absent
from dtrm_jax.models.layers.transformer import LINEAR_INIT


class Additive(Fusion):
    """``o = sum_m r_m``."""

    title = "additive"

    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the sum of what is present; zeros where nothing is."""
        return sum(zero_absent(r_UxD, present_U))


class Concat(Fusion):
    """``o = W [r_1; r_2; ...] + b``, back to the width of the model."""

    title = "concat"

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projected concatenation, in which absent modalities are zeros."""
        parts = zero_absent(r_UxD, present_U)
        project = nn.Dense(parts[0].shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")
        return project(jnp.concatenate(parts, axis=-1))


class MaxPooling(Fusion):
    """``o = max_m r_m``, neuron by neuron."""

    title = "max-pooling"

    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the largest of what is present; zeros where nothing is."""
        low = jnp.finfo(next(iter(r_UxD.values())).dtype).min
        stacked = jnp.stack([jnp.where(present_U[name][:, None], r_UxD[name], low) for name in r_UxD])
        present = jnp.stack([present_U[name] for name in r_UxD]).any(axis=0)
        return jnp.where(present[:, None], stacked.max(axis=0), 0)
