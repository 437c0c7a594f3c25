"""Affine maps whose matrix products may take their inputs in bfloat16, and their parameters."""

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Float

from dtrm_jax.batch import Array
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
    def __call__(self, inputs: int) -> tuple[Float[Array, "I Y"], Float[Array, " Y"]]:
        """Returns kernel and bias for inputs of this width."""
        kernel = self.param("kernel", self.kernel_init, (inputs, self.features))
        return kernel, self.param("bias", nn.initializers.zeros, (self.features,))


def affine(
    x_XxI: Float[Array, "X I"],
    kernel_IxY: Float[Array, "I Y"],
    bias_Y: Float[Array, " Y"] | None,
    dtype: DTypeLike,
    products: str,
) -> Float[Array, "X Y"]:
    """Returns ``x W + b``, or ``x W`` if the bias is None.

    Args:
        x_XxI: Inputs.
        kernel_IxY: W.
        bias_Y: b.
        dtype: Of the result.
        products: Input dtype of matrix products: "float32", which stands for ``dtype``, or "bfloat16".
    """
    if products == "bfloat16" and runs_in_bfloat16():
        product = bfloat16_product(x_XxI, kernel_IxY).astype(dtype)
    else:
        product = x_XxI.astype(dtype) @ kernel_IxY.astype(dtype)
    return product if bias_Y is None else product + bias_Y.astype(dtype)
