"""Products of a matrix with few rows, as a step of a recurrence takes them: one row per lane.

XLA computes ``x W`` on a CPU at half the speed or less if x has few rows, and slower still, in the gradient, with W
transposed: it then transposes all of W in every step. It is fast with W on the left, its rows side by side, and the few
columns of x transposed filling the processor's registers (``benchmarks/recurrent.py``). So both W and W transposed are
prepared before the loop, and what is transposed in a step are the few rows alone.
"""

from typing import NamedTuple

import jax
from jaxtyping import Float

from dtrm_jax.batch import Array

_FEW = 64  # rows up to which that is faster


class FewRows(NamedTuple):
    """A matrix W for the steps of a loop. To be made outside of it (``of``).

    Attributes:
        kernel_IxY: W.
        turned_YxI: W transposed; no gradient goes there.
    """

    kernel_IxY: Float[Array, "I Y"]
    turned_YxI: Float[Array, "Y I"]

    @classmethod
    def of(cls, kernel_IxY: Float[Array, "I Y"]) -> "FewRows":
        """Prepares a matrix."""
        return cls(kernel_IxY, jax.lax.stop_gradient(kernel_IxY).T)

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... Y"]:
        """Returns ``x W``."""
        return _product(x, *self)


class StepAffine(NamedTuple):
    """``x W + b`` in the steps of a loop.

    Attributes:
        kernel: W.
        bias_Y: b.
    """

    kernel: FewRows
    bias_Y: Float[Array, " Y"]

    @classmethod
    def of(cls, kernel_IxY: Float[Array, "I Y"], bias_Y: Float[Array, " Y"]) -> "StepAffine":
        """Prepares it, outside of the loop."""
        return cls(FewRows.of(kernel_IxY), bias_Y)

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... Y"]:
        """Returns the sum."""
        return self.kernel(x) + self.bias_Y

    @property
    def inputs(self) -> int:
        """I."""
        return self.kernel.kernel_IxY.shape[0]


def _few_times(x: Array, turned_YxI: Array) -> Array:
    """Returns the product of the last axis of x with W, of which the transpose is given."""
    rows = x.size // x.shape[-1]
    if rows > _FEW:
        return x @ turned_YxI.T
    product_YxN = jax.lax.dot_general(turned_YxI, x.reshape(rows, -1), (((1,), (1,)), ((), ())))
    # Without the barrier, XLA makes the usual product of it.
    return jax.lax.optimization_barrier(product_YxN).T.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _product(x: Array, kernel_IxY: Array, turned_YxI: Array) -> Array:
    return _few_times(x, turned_YxI)


def _product_fwd(x: Array, kernel_IxY: Array, turned_YxI: Array) -> tuple[Array, tuple[Array, Array]]:
    return _few_times(x, turned_YxI), (x, kernel_IxY)


def _product_bwd(kept: tuple[Array, Array], given: Array) -> tuple[Array, Array, None]:
    x, kernel_IxY = kept
    to_kernel = x.reshape(-1, x.shape[-1]).T @ given.reshape(-1, given.shape[-1])
    return _few_times(given, kernel_IxY), to_kernel, None


_product.defvjp(_product_fwd, _product_bwd)
