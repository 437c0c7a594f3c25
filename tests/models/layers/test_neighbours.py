"""Neighbours of turns in blocks, against loops over all pairs of turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers.neighbours import Neighbours
from tests.models.layers.test_attention import layout

# Turns, past, future: one block; many with and without a look ahead; a last block that is not full; nothing in reach.
CASES = [(13, 10, 10), (60, 3, 5), (61, 9, 0), (64, 0, 4), (45, 17, 2), (7, 0, 0)]


def dense(neighbours, x_BxAxW, utterances):
    """``[U, U]`` of ``[B, A, W]``, found by carrying the turns' numbers through the same cut."""
    blocks = neighbours.blocks
    near = np.asarray(blocks.near(jnp.arange(utterances), -1))
    result = np.zeros((utterances, utterances), np.asarray(x_BxAxW).dtype)
    for turn in range(utterances):
        block, place = divmod(turn, blocks.size)
        for column, other in enumerate(near[block]):
            if other >= 0:
                result[turn, other] = x_BxAxW[block, place, column]
    return result


@pytest.mark.parametrize(("utterances", "past", "future"), CASES)
def test_edges_distances_products_and_sums(utterances, past, future):
    conversation, turn = layout(utterances, seed=utterances)
    neighbours = Neighbours(conversation, turn, past, future)
    edges = dense(neighbours, np.asarray(neighbours.edges_BxAxW), utterances)
    distance = np.asarray(turn)[:, None] - np.asarray(turn)[None, :]
    same = (np.asarray(conversation)[:, None] == np.asarray(conversation)) & (np.asarray(conversation) >= 0)
    expected = same & (distance <= past) & (distance >= -future)
    np.testing.assert_array_equal(edges, expected)
    assert not edges[np.asarray(conversation) < 0].any()
    found = dense(neighbours, np.asarray(neighbours.distance_BxAxW), utterances)
    np.testing.assert_array_equal(found[expected], distance[expected])

    x, y = np.random.default_rng(1).normal(size=(2, utterances, 3)).astype(np.float32)
    products = dense(neighbours, np.asarray(neighbours.products(x, y)), utterances)
    np.testing.assert_allclose(products[expected], (x @ y.T)[expected], rtol=0, atol=1e-5)
    weights = jnp.where(neighbours.edges_BxAxW, neighbours.products(x, y), 0)
    sums = neighbours.sums(weights, y)
    np.testing.assert_allclose(sums, np.where(expected, x @ y.T, 0) @ y, rtol=0, atol=1e-4)

    logits = np.where(expected, x @ y.T, -np.inf)[expected.any(axis=1)]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    found = dense(neighbours, np.asarray(neighbours.softmax(neighbours.products(x, y))), utterances)
    np.testing.assert_allclose(found[expected.any(axis=1)], shares / shares.sum(axis=1, keepdims=True), atol=1e-6)
    assert not found[~expected].any()


def test_pairs_grow_linearly_with_the_axis():
    def pairs(utterances):
        nothing = jax.ShapeDtypeStruct((utterances,), jnp.int32)
        return jax.eval_shape(lambda *place: Neighbours(*place, 10, 10).edges_BxAxW, nothing, nothing).size

    assert pairs(4000) < 4.05 * pairs(1000) < 4.05 * 50 * 1000
