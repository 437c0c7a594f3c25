"""The simple fusions that the paper compares MGIF with (Table 5): additive, concat, max-pooling.

Each maps the representations of the modalities to one vector a turn, ``o_i``. ``r_m`` is the representation of modality
``m``, and a modality that a turn lacks takes no part in it.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.inter_modal import MGIF
from dtrm_jax.models.transformer import LINEAR_INIT

Representations = Mapping[str, Float[Array, "U D"]]
Presence = Mapping[str, Bool[Array, " U"]]


class Additive(nn.Module):
    """``o = sum_m r_m``."""

    def __call__(self, r_UxD: Representations, present_U: Presence, deterministic: bool) -> Float[Array, "U D"]:
        """Returns the sum of what is present; zeros where nothing is."""
        return sum(_zero_absent(r_UxD, present_U))


class Concat(nn.Module):
    """``o = W [r_1; r_2; ...] + b``, back to the width of the model.

    Attributes:
        dtype: Of the computation.
    """

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, r_UxD: Representations, present_U: Presence, deterministic: bool) -> Float[Array, "U D"]:
        """Returns the projected concatenation; what is absent is zeros."""
        parts = _zero_absent(r_UxD, present_U)
        project = nn.Dense(parts[0].shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")
        return project(jnp.concatenate(parts, axis=-1))


class MaxPooling(nn.Module):
    """``o = max_m r_m``, neuron by neuron."""

    def __call__(self, r_UxD: Representations, present_U: Presence, deterministic: bool) -> Float[Array, "U D"]:
        """Returns the largest of what is present; zeros where nothing is."""
        low = jnp.finfo(next(iter(r_UxD.values())).dtype).min
        stacked = jnp.stack([jnp.where(present_U[name][:, None], r_UxD[name], low) for name in r_UxD])
        present = jnp.stack([present_U[name] for name in r_UxD]).any(axis=0)
        return jnp.where(present[:, None], stacked.max(axis=0), 0)


def build_fusion(config: FusionConfig, dtype: jnp.dtype, remat: bool, name: str) -> nn.Module:
    """Builds the configured fusion: ``(representations, presence, deterministic) -> [U, D]``."""
    kinds = {
        "mgif": lambda: MGIF(config, dtype, remat, name=name),
        "additive": lambda: Additive(name=name),
        "concat": lambda: Concat(dtype, name=name),
        "max": lambda: MaxPooling(name=name),
    }
    return kinds[config.kind]()


def _zero_absent(r_UxD: Representations, present_U: Presence) -> list[Float[Array, "U D"]]:
    return [jnp.where(present_U[name][:, None], r_UxD[name], 0) for name in r_UxD]
