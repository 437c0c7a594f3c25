"""Affine layers whose matrix products may take their inputs in bfloat16.

Products with weights are most of the encoder's work. Some CPUs with AVX-512 bfloat16 do twice as many of them in that
type, others half; sums stay in float32, and so does everything that is not a product, which is what TPUs do by default.
"""

import functools
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_ALIGN = 16


class Weights(nn.Module):
    """The parameters of ``nn.Dense``, without its product.

    Attributes:
        features: Width of the output.
        kernel_init: Of the kernel; biases begin as zeros.
    """

    features: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, inputs: int) -> tuple[Float[Array, "I O"], Float[Array, " O"]]:
        """Returns kernel and bias for inputs of this width."""
        return _parameters(self, inputs)


class Dense(nn.Module):
    """``x W + b``, with the parameters of ``nn.Dense``.

    Attributes:
        features: Width of the output.
        dtype: Of the result.
        products: "float32": inputs are taken in ``dtype``; "bfloat16": in bfloat16.
        kernel_init: Of the kernel.
    """

    features: int
    dtype: jnp.dtype
    products: str
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x_PxI: Float[Array, "P I"]) -> Float[Array, "P O"]:
        """Applies the layer to every position."""
        return affine(x_PxI, *_parameters(self, x_PxI.shape[-1]), self.dtype, self.products)


def _parameters(layer: Weights | Dense, inputs: int) -> tuple[Array, Array]:
    kernel = layer.param("kernel", layer.kernel_init, (inputs, layer.features))
    return kernel, layer.param("bias", nn.initializers.zeros, (layer.features,))


def affine(
    x_PxI: Float[Array, "P I"],
    kernel_IxO: Float[Array, "I O"],
    bias_O: Float[Array, " O"],
    dtype: jnp.dtype,
    products: str,
) -> Float[Array, "P O"]:
    """Returns ``x W + b`` in ``dtype``; ``products`` as in ``Dense``."""
    if products == "bfloat16" and runs_in_bfloat16():
        return bfloat16_product(x_PxI, kernel_IxO).astype(dtype) + bias_O.astype(dtype)
    return x_PxI.astype(dtype) @ kernel_IxO.astype(dtype) + bias_O.astype(dtype)


@jax.custom_vjp
def bfloat16_product(x_PxI: Float[Array, "P I"], kernel_IxO: Float[Array, "I O"]) -> Float[Array, "P O"]:
    """``x W`` with inputs rounded to bfloat16 and float32 sums, in both directions."""
    return _forward(x_PxI, kernel_IxO)[0]


def _forward(x, kernel):
    low_x, low_kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    # The empty array carries the type that the gradient of x must have.
    return _product(low_x, low_kernel, 1, 0), (low_x, low_kernel, jnp.zeros(0, x.dtype))


def _backward(kept, g_PxO):
    x, kernel, like_x = kept
    g = g_PxO.astype(jnp.bfloat16)
    return _product(g, kernel, 1, 1).astype(like_x.dtype), _over_positions(x, g)


bfloat16_product.defvjp(_forward, _backward)


def _product(x: Array, y: Array, contract_x: int, contract_y: int) -> Array:
    dimensions = (((contract_x,), (contract_y,)), ((), ()))
    return lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)


def _over_positions(x_PxI: Array, g_PxO: Array) -> Array:
    """Returns ``x^T g``, the gradient of a kernel."""
    return lax.platform_dependent(x_PxI, g_PxO, cpu=_over_positions_on_cpu, default=lambda x, g: _product(x, g, 0, 0))


def _over_positions_on_cpu(x_PxI: Array, g_PxO: Array) -> Array:
    """As ``_over_positions``, the narrower factor transposed.

    XLA's fast bfloat16 product takes no transposed first factor, and would take the transposition back into the
    product; padding keeps it out.
    """
    if x_PxI.shape[1] <= g_PxO.shape[1]:
        return _padded_product(x_PxI, g_PxO)
    outputs = g_PxO.shape[1]
    return _padded_product(g_PxO, x_PxI, rows=_ALIGN)[:outputs].T


def _padded_product(x: Array, y: Array, rows: int = 0) -> Array:
    """Returns ``x^T y``, below it ``rows`` rows of zeros."""
    transposed = jnp.pad(x.T, ((0, rows), (0, _ALIGN)))
    return _product(transposed, jnp.pad(y, ((0, _ALIGN), (0, 0))), 1, 0)


@functools.cache
def runs_in_bfloat16() -> bool:
    """Returns whether this backend runs ``bfloat16_product`` and its gradient; XLA's CPU backend may not.

    Says so, once, if it does not.
    """
    if jax.default_backend() != "cpu":
        return True
    with jax.ensure_compile_time_eval():
        x, widening, narrowing = jnp.ones((96, 32)), jnp.ones((32, 48)), jnp.ones((48, 32))

        def total(*factors: Array) -> Array:
            return functools.reduce(bfloat16_product, factors).sum()

        try:
            jax.block_until_ready(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(x, widening, narrowing))
        except jax.errors.JaxRuntimeError as error:
            warnings.warn(f"float32 products instead of bfloat16, which XLA does not run here: {error}", stacklevel=2)
            return False
    return True
