"""What bfloat16 products change, and what they do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.data.packing import build_pack
from dtrm_jax.models.layers.attention import row_attention
from dtrm_jax.models.layers.bfloat16 import bfloat16_product, runs_in_bfloat16
from tests.factories import random_examples, random_params, tiny_config, tiny_model
from tests.models.dialogue_trm.test_dialogue_trm import SIMPLE, logits_of
from tests.models.layers.test_dense import SIZES, random

BATCHED = [((), 7, 5, 3), ((2, 3), 16, 16, 8), ((4, 12), 48, 48, 32), ((1,), 1, 9, 64)]


def rounded(x):
    """What is left of float32 in bfloat16: round to nearest, ties to even, to 8 bits of mantissa."""
    bits = x.view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def check(values, expected):
    for name, value in values.items():
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def transposed(x):
    return np.swapaxes(x, -2, -1)


@pytest.mark.parametrize(("positions", "inputs", "outputs"), SIZES)
def test_bfloat16_products_round_their_inputs_and_nothing_else(positions, inputs, outputs):
    assert runs_in_bfloat16()
    x, kernel, g = random(positions, inputs), random(inputs, outputs), random(positions, outputs, seed=1)
    y, vjp = jax.vjp(jax.jit(bfloat16_product), x, kernel)
    dx, dkernel = vjp(g)
    low_x, low_kernel, low_g = map(rounded, (x, kernel, g))
    expected = {"y": low_x @ low_kernel, "dx": low_g @ low_kernel.T, "dkernel": low_x.T @ low_g}
    check({"y": y, "dx": dx, "dkernel": dkernel}, expected)


@pytest.mark.parametrize(("batch", "queries", "keys", "width"), BATCHED)
def test_scores_round_their_inputs_and_nothing_else(batch, queries, keys, width):
    q, k, g = random(*batch, queries, width), random(*batch, keys, width, seed=1), random(*batch, queries, keys)
    scores, vjp = jax.vjp(jax.jit(lambda q, k: bfloat16_product(q, jnp.swapaxes(k, -2, -1))), q, k)
    dq, dk = vjp(g)
    low_q, low_k, low_g = map(rounded, (q, k, g))
    expected = {"scores": low_q @ transposed(low_k), "dq": low_g @ low_k, "dk": transposed(low_g) @ low_q}
    check({"scores": scores, "dq": dq, "dk": dk}, expected)


@pytest.mark.parametrize(("batch", "queries", "keys", "width"), BATCHED)
def test_mixtures_round_their_inputs_and_nothing_else(batch, queries, keys, width):
    w, v, g = random(*batch, queries, keys), random(*batch, keys, width), random(*batch, queries, width, seed=1)
    mixed, vjp = jax.vjp(jax.jit(bfloat16_product), w, v)
    dw, dv = vjp(g)
    low_w, low_v, low_g = map(rounded, (w, v, g))
    expected = {"mixed": low_w @ low_v, "dw": low_g @ transposed(low_v), "dv": transposed(low_w) @ low_g}
    check({"mixed": mixed, "dw": dw, "dv": dv}, expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("drop", [None, lambda weights: weights * 0.5])
def test_attention_of_rows_is_close_to_the_exact_one(drop, dtype):
    rows, heads, width = ((16, 2), (48, 1)), 3, 8
    tokens = sum(length * count for length, count in rows)
    ids = jnp.concatenate([jnp.repeat(jnp.arange(2 * count), length // 2) for length, count in rows])
    x, g = jnp.asarray(random(tokens, 3 * heads * width), dtype), random(tokens, heads * width)

    def gradient(products):
        def loss(x):
            q, k, v = (part.reshape(tokens, heads, width) for part in jnp.split(x, 3, axis=-1))
            attended, _ = row_attention(q, k, v, ids, rows, drop, products)
            assert attended.dtype == dtype
            return (attended.reshape(tokens, -1) * g).sum(dtype=jnp.float32)

        return jax.jit(jax.grad(loss))(x)

    rough, exact = gradient("bfloat16"), gradient("float32")
    assert rough.dtype == dtype
    rough, exact = (np.asarray(one, np.float32) for one in (rough, exact))
    assert 0 < np.linalg.norm(rough - exact) < 0.02 * np.linalg.norm(exact)


def test_a_model_with_bfloat16_products_is_close_and_learns_like_the_exact_one():
    low, high = (tiny_config(model__encoder__products=products) for products in ("bfloat16", "float32"))
    pack = build_pack(random_examples(0, (5, 9), high), SIMPLE)
    exact, rough = tiny_model(high, SIMPLE), tiny_model(low, SIMPLE)
    params = random_params(exact)
    assert jax.tree.structure(params) == jax.tree.structure(random_params(rough))
    difference = np.abs(logits_of(exact, params, pack) - logits_of(rough, params, pack)).max()
    assert 0 < difference < 0.05

    def gradient(model):
        total = jax.grad(lambda p: (model.apply({"params": p}, pack, deterministic=True) ** 2).sum())
        return jax.jit(total)(params)["encoder"]

    ours, theirs = (np.concatenate([x.ravel() for x in jax.tree.leaves(gradient(m))]) for m in (rough, exact))
    assert np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.999
