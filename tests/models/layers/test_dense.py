"""Affine layers: the parameters of nn.Dense."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers.dense import Weights, affine

INIT = nn.initializers.lecun_normal()
SIZES = [(7, 5, 11), (64, 48, 16), (130, 16, 48), (1, 3, 3)]  # wide to narrow, narrow to wide, odd and single


def random(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("positions", "inputs", "outputs"), SIZES)
def test_in_float32_it_is_flax_dense(positions, inputs, outputs):
    x = random(positions, inputs)
    theirs = nn.Dense(outputs, kernel_init=INIT)
    params = theirs.init(jax.random.key(3), x)
    ours = Weights(outputs, INIT)
    jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(3), inputs), params)
    found = affine(x, *ours.apply(params, inputs), jnp.float32, "float32")
    np.testing.assert_allclose(found, theirs.apply(params, x), rtol=1e-5, atol=1e-6)


def test_the_gradient_has_the_type_of_the_input():
    x, kernel = jnp.asarray(random(8, 4), jnp.bfloat16), random(4, 6)
    gradient = jax.grad(lambda x: affine(x, kernel, jnp.zeros(6), jnp.bfloat16, "bfloat16").sum())(x)
    assert gradient.dtype == jnp.bfloat16
