"""Affine maps whose matrix products may take their inputs in bfloat16, and their parameters."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from dtrm_jax.models.layers.bfloat16 import bfloat16_product, runs_in_bfloat16


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
        kernel = self.param("kernel", self.kernel_init, (inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


def affine(
    x_PxI: Float[Array, "P I"],
    kernel_IxO: Float[Array, "I O"],
    bias_O: Float[Array, " O"] | None,
    dtype: jnp.dtype,
    products: str,
) -> Float[Array, "P O"]:
    """Returns ``x W + b``, or ``x W`` if the bias is None.

    Args:
        x_PxI: Inputs.
        kernel_IxO: W.
        bias_O: b.
        dtype: Of the result.
        products: Type that the product takes its inputs in: "float32", which takes them in ``dtype``, or "bfloat16".
    """
    if products == "bfloat16" and runs_in_bfloat16():
        product = bfloat16_product(x_PxI, kernel_IxO).astype(dtype)
    else:
        product = x_PxI.astype(dtype) @ kernel_IxO.astype(dtype)
    return product if bias_O is None else product + bias_O.astype(dtype)
