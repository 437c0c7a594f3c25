"""Matrix products that take their inputs in bfloat16 and sum in float32, forward and backward.

Products are most of the encoder's work. Some CPUs with AVX-512 bfloat16 do twice as many of them in that type, others
half; sums stay in float32, and so does everything that is not a product, which is what TPUs do by default.

XLA's fast bfloat16 product on a CPU takes neither a transposed first factor nor more than one batch axis. XLA would
fold the transpose back into the dot; padding prevents that.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from dtrm_jax.batch import Array

_ALIGN = 16


@jax.custom_vjp
def bfloat16_product(x: Float[Array, "... X I"], y: Float[Array, "... I Y"]) -> Float[Array, "... X Y"]:
    """``x y``: of positions with a kernel, of queries with keys, of attention weights with values."""
    return _forward(x, y)[0]


def _forward(x, y):
    low_x, low_y = x.astype(jnp.bfloat16), y.astype(jnp.bfloat16)
    # The empty arrays carry the types that the gradients must have.
    return _product(low_x, low_y, -1, -2), (low_x, low_y, jnp.zeros(0, x.dtype), jnp.zeros(0, y.dtype))


def _backward(kept, g):
    x, y, like_x, like_y = kept
    g = g.astype(jnp.bfloat16)
    return _product(g, y, -1, -1).astype(like_x.dtype), _over_positions(x, g).astype(like_y.dtype)


bfloat16_product.defvjp(_forward, _backward)


def _product(x: Array, y: Array, contract_x: int, contract_y: int) -> Array:
    """Sums over one axis of each, -1 or -2; all leading axes become one."""
    if x.ndim == 2:
        return _dot(x, y, contract_x % 2, contract_y % 2)
    flat_x, flat_y = (z.reshape(-1, *z.shape[-2:]) for z in (x, y))
    with jax.named_scope("batched"):  # its name in a profile
        product = _dot(flat_x, flat_y, contract_x % 3, contract_y % 3, batch=(0,))
    return product.reshape(*x.shape[:-2], *product.shape[1:])


def _dot(x: Array, y: Array, contract_x: int, contract_y: int, batch: tuple[int, ...] = ()) -> Array:
    dimensions = (((contract_x,), (contract_y,)), (batch, batch))
    return lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)


def _over_positions(x: Array, g: Array) -> Array:
    """Returns ``x^T g``, the gradient of ``y``."""
    return lax.platform_dependent(x, g, cpu=_over_positions_on_cpu, default=lambda x, g: _product(x, g, -2, -2))


def _over_positions_on_cpu(x: Array, g: Array) -> Array:
    """As ``_over_positions``, the narrower factor transposed."""
    if x.shape[-1] <= g.shape[-1]:
        return _padded_product(x, g)
    return jnp.swapaxes(_padded_product(g, x), -2, -1)


def _padded_product(x: Array, y: Array) -> Array:
    """Returns ``x^T y``, computed from a padded ``x^T``."""
    padding = [(0, 0)] * (x.ndim - 2) + [(0, _ALIGN), (0, 0)]
    return _product(jnp.pad(jnp.swapaxes(x, -2, -1), padding), y, -1, -2)[..., : x.shape[-1], :]


@functools.cache
def runs_in_bfloat16() -> bool:
    """Returns whether this backend runs these products and their gradients; XLA's CPU backend may not.

    Says so, once, if it does not.
    """
    if jax.default_backend() != "cpu":
        return True
    with jax.ensure_compile_time_eval():
        x, widening, narrowing = jnp.ones((96, 32)), jnp.ones((32, 48)), jnp.ones((48, 32))

        def total(*factors: Array) -> Array:
            y = functools.reduce(bfloat16_product, factors).reshape(2, 2, 24, 32)
            return bfloat16_product(bfloat16_product(y, jnp.swapaxes(y, -2, -1)), y).sum()

        try:
            jax.block_until_ready(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(x, widening, narrowing))
        except jax.errors.JaxRuntimeError as error:
            warnings.warn(f"float32 products instead of bfloat16, which XLA does not run here: {error}", stacklevel=2)
            return False
    return True
