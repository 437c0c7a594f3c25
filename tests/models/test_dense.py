"""Affine layers: the parameters of nn.Dense, and what bfloat16 products change."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.data.packing import build_pack
from dtrm_jax.models.dense import Dense, affine, bfloat16_product, runs_in_bfloat16
from tests.factories import random_examples, random_params, tiny_config, tiny_model
from tests.models.test_dialogue_trm import SIMPLE, logits_of

INIT = nn.initializers.lecun_normal()
SIZES = [(7, 5, 11), (64, 48, 16), (130, 16, 48), (1, 3, 3)]  # wide to narrow, narrow to wide, odd and single


def random(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def rounded(x):
    """What is left of float32 in bfloat16: round to nearest, ties to even, to 8 bits of mantissa."""
    bits = x.view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("positions", "inputs", "outputs"), SIZES)
def test_in_float32_it_is_flax_dense(positions, inputs, outputs):
    x = random(positions, inputs)
    theirs = nn.Dense(outputs, kernel_init=INIT)
    params = theirs.init(jax.random.key(3), x)
    ours = Dense(outputs, jnp.float32, "float32", INIT)
    jax.tree.map(np.testing.assert_array_equal, ours.init(jax.random.key(3), x), params)
    np.testing.assert_allclose(ours.apply(params, x), theirs.apply(params, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("positions", "inputs", "outputs"), SIZES)
def test_bfloat16_products_round_their_inputs_and_nothing_else(positions, inputs, outputs):
    assert runs_in_bfloat16()
    x, kernel, g = random(positions, inputs), random(inputs, outputs), random(positions, outputs, seed=1)
    y, vjp = jax.vjp(jax.jit(bfloat16_product), x, kernel)
    dx, dkernel = vjp(g)
    expected = {"y": rounded(x) @ rounded(kernel), "dx": rounded(g) @ rounded(kernel).T}
    expected["dkernel"] = rounded(x).T @ rounded(g)
    for (name, right), value in zip(expected.items(), (y, dx, dkernel), strict=True):
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, right, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_gradient_has_the_type_of_the_input():
    x, kernel = jnp.asarray(random(8, 4), jnp.bfloat16), random(4, 6)
    gradient = jax.grad(lambda x: affine(x, kernel, jnp.zeros(6), jnp.bfloat16, "bfloat16").sum())(x)
    assert gradient.dtype == jnp.bfloat16


def test_a_model_with_bfloat16_products_is_close_and_learns_like_the_exact_one():
    low, high = (tiny_config(model__encoder__products=products) for products in ("bfloat16", "float32"))
    pack = build_pack(random_examples(0, (5, 9), high), SIMPLE)
    exact, rough = tiny_model(high, SIMPLE), tiny_model(low, SIMPLE)
    params = random_params(exact)
    assert jax.tree.structure(params) == jax.tree.structure(random_params(rough))
    difference = np.abs(logits_of(exact, params, pack) - logits_of(rough, params, pack)).max()
    assert 0 < difference < 0.05

    def gradient(model):
        return jax.grad(lambda p: (model.apply({"params": p}, pack, deterministic=True) ** 2).sum())(params)["encoder"]

    ours, theirs = (np.concatenate([x.ravel() for x in jax.tree.leaves(gradient(m))]) for m in (rough, exact))
    assert np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.999
