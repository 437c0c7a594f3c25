"""Matrix products that take their inputs in bfloat16 and sum in float32, forward and backward.

Products are most of the encoder's work. Some CPUs with AVX-512 bfloat16 do twice as many of them in that type, others
half; sums stay in float32, and so does everything that is not a product, which is what TPUs do by default.

XLA's fast bfloat16 product on a CPU takes neither a transposed first factor nor more than one batch axis, and XLA would
take a transposition back into the product; padding keeps it out.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_ALIGN = 16


@jax.custom_vjp
def bfloat16_product(x_PxI: Float[Array, "P I"], kernel_IxO: Float[Array, "I O"]) -> Float[Array, "P O"]:
    """``x W``."""
    return _product_forward(x_PxI, kernel_IxO)[0]


def _product_forward(x, kernel):
    low_x, low_kernel = _low(x), _low(kernel)
    return _product(low_x, low_kernel, 1, 0), (low_x, low_kernel, _like(x))


def _product_backward(kept, g_PxO):
    x, kernel, like_x = kept
    g = _low(g_PxO)
    return _product(g, kernel, 1, 1).astype(like_x.dtype), _over_positions(x, g)


bfloat16_product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def bfloat16_scores(q: Float[Array, "... Q E"], k: Float[Array, "... S E"]) -> Float[Array, "... Q S"]:
    """``q k^T``: attention's first product, its gradients without a transposition of the scores."""
    return _scores_forward(q, k)[0]


def _scores_forward(q, k):
    low_q, low_k = _low(q), _low(k)
    return _batched(low_q, low_k, 2, 2), (low_q, low_k, _like(q), _like(k))


def _scores_backward(kept, g):
    q, k, like_q, like_k = kept
    g = _low(g)
    return _batched(g, k, 2, 1).astype(like_q.dtype), _over_queries(g, q).astype(like_k.dtype)


bfloat16_scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def bfloat16_mixture(weights: Float[Array, "... Q S"], v: Float[Array, "... S E"]) -> Float[Array, "... Q E"]:
    """``weights v``: attention's second product, likewise."""
    return _mixture_forward(weights, v)[0]


def _mixture_forward(weights, v):
    low_weights, low_v = _low(weights), _low(v)
    return _batched(low_weights, low_v, 2, 1), (low_weights, low_v, _like(weights), _like(v))


def _mixture_backward(kept, g):
    weights, v, like_weights, like_v = kept
    g = _low(g)
    return _batched(g, v, 2, 2).astype(like_weights.dtype), _over_queries(weights, g).astype(like_v.dtype)


bfloat16_mixture.defvjp(_mixture_forward, _mixture_backward)


def _low(x: Array) -> Array:
    return x.astype(jnp.bfloat16)


def _like(x: Array) -> Array:
    """An empty array that carries the type which the gradient of ``x`` must have."""
    return jnp.zeros(0, x.dtype)


def _product(x: Array, y: Array, contract_x: int, contract_y: int, batch: tuple[int, ...] = ()) -> Array:
    dimensions = (((contract_x,), (contract_y,)), (batch, batch))
    return lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)


def _batched(x: Array, y: Array, contract_x: int, contract_y: int) -> Array:
    """Products of matrices, all leading axes being one; the matrices' axes are 1 and 2."""
    x_BxMxN, y_BxMxN = (z.reshape(-1, *z.shape[-2:]) for z in (x, y))
    with jax.named_scope("batched"):  # what a profile knows it by
        product = _product(x_BxMxN, y_BxMxN, contract_x, contract_y, batch=(0,))
    return product.reshape(*x.shape[:-2], *product.shape[1:])


def _over_positions(x_PxI: Array, g_PxO: Array) -> Array:
    """Returns ``x^T g``, the gradient of a kernel."""
    return lax.platform_dependent(x_PxI, g_PxO, cpu=_over_positions_on_cpu, default=lambda x, g: _product(x, g, 0, 0))


def _over_positions_on_cpu(x_PxI: Array, g_PxO: Array) -> Array:
    """As ``_over_positions``, the narrower factor transposed."""
    if x_PxI.shape[1] <= g_PxO.shape[1]:
        return _padded_product(x_PxI, g_PxO)
    outputs = g_PxO.shape[1]
    return _padded_product(g_PxO, x_PxI, rows=_ALIGN)[:outputs].T


def _padded_product(x: Array, y: Array, rows: int = 0) -> Array:
    """Returns ``x^T y``, below it ``rows`` rows of zeros."""
    transposed = jnp.pad(x.T, ((0, rows), (0, _ALIGN)))
    return _product(transposed, jnp.pad(y, ((0, _ALIGN), (0, 0))), 1, 0)


def _over_queries(weights: Array, x: Array) -> Array:
    """Returns ``weights^T x``, the gradient of keys or values: ``[..., S, E]``."""
    return lax.platform_dependent(
        weights, x, cpu=_over_queries_on_cpu, default=lambda weights, x: _batched(weights, x, 1, 1)
    )


def _over_queries_on_cpu(weights: Array, x: Array) -> Array:
    """As ``_over_queries``, by ``(x^T weights)^T``: the factors that are transposed are the small ones."""
    padding = [(0, 0)] * (x.ndim - 2) + [(0, _ALIGN), (0, 0)]
    product = _batched(jnp.pad(jnp.swapaxes(x, -2, -1), padding), weights, 2, 1)
    return jnp.swapaxes(product[..., : x.shape[-1], :], -2, -1)


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
            return bfloat16_mixture(bfloat16_scores(y, y), y).sum()

        try:
            jax.block_until_ready(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(x, widening, narrowing))
        except jax.errors.JaxRuntimeError as error:
            warnings.warn(f"float32 products instead of bfloat16, which XLA does not run here: {error}", stacklevel=2)
            return False
    return True
