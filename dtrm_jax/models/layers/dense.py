"""Affine layers whose matrix products may take their inputs in bfloat16."""

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
    dtype: DTypeLike
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
    bias_O: Float[Array, " O"] | None,
    dtype: DTypeLike,
    products: str,
) -> Float[Array, "P O"]:
    """Returns ``x W + b`` in ``dtype``, or ``x W`` if the bias is None; ``products`` as in ``Dense``."""
    if products == "bfloat16" and runs_in_bfloat16():
        product = bfloat16_product(x_PxI, kernel_IxO).astype(dtype)
    else:
        product = x_PxI.astype(dtype) @ kernel_IxO.astype(dtype)
    return product if bias_O is None else product + bias_O.astype(dtype)
