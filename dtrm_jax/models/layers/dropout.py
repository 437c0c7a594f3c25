"""Dropout with a counter-based hash.

JAX's generators spend more time on dropout masks than a small encoder spends on its matrix products. A mask needs no
cryptographic quality: every element's index is mixed with the site's key by a 32-bit integer finaliser (two rounds of
xor-shift and multiplication), which XLA fuses into the surrounding element-wise work. The key itself comes from JAX's
generator, a fresh one for every site and step.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key

from dtrm_jax.batch import Array


def keep_mask(key: Key[Array, ""], rate: float, shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Returns a mask of ``shape`` that is False with probability ``rate``, a function of ``key`` alone.

    Keys made by ``split`` or ``fold_in`` give independent masks; ``key(0)`` and ``key(1)``, whose words differ in one
    bit, do not.

    Raises:
        ValueError: The array has 2**32 elements or more, which the counter cannot tell apart.
    """
    if math.prod(shape) >= 2**32:
        raise ValueError(f"dropout over {shape}: expected fewer than 2**32 elements")
    key_words = jax.random.key_data(key).astype(jnp.uint32).reshape(-1)
    counter = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        counter = counter * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    bits = counter ^ key_words[0]
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x21F0AAAD) + key_words[1]
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x735A2D97)
    bits = bits ^ (bits >> 15)
    return bits >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def dropout(x: Float[Array, "..."], key: Key[Array, ""], rate: float) -> Float[Array, "..."]:
    """Zeroes elements with probability ``rate`` and scales the others by ``1 / (1 - rate)``."""
    scale = jnp.asarray(1.0 / (1.0 - rate), x.dtype)
    return jnp.where(keep_mask(key, rate, x.shape), x * scale, jnp.zeros((), x.dtype))


class Dropout(nn.Module):
    """``dropout`` as a module; takes its key from the "dropout" stream, and none when it has nothing to do."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "..."], deterministic: bool) -> Float[Array, "..."]:
        """Returns ``x`` unchanged if ``deterministic`` or the rate is 0."""
        if deterministic or self.rate == 0.0:
            return x
        return dropout(x, self.make_rng("dropout"), self.rate)
