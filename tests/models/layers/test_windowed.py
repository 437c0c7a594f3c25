"""Attention that goes on from pack to pack is attention over the whole conversation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers.attention import banded_attention
from dtrm_jax.models.layers.memory import MEMORY
from dtrm_jax.models.layers.windowed import WindowedAttention

TURNS, HEADS, WIDTH = 23, 2, 5


def keep(weights):
    return weights


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    return [random.normal(size=(TURNS, HEADS, WIDTH)).astype(np.float32) for _ in range(3)]


def placed(x, begin, end, slots, fill):
    """The turns from ``begin`` to ``end`` in a pack of so many slots."""
    result = np.full((slots, *x.shape[1:]), fill, x.dtype)
    result[: end - begin] = x[begin:end]
    return result


# Turns of each pack, and the slots of a pack: with unused ones behind, in the middle of the conversation too.
CUTS = {
    "one by one": ([1] * TURNS, 1),
    "uneven": ([7, 1, 5, 0, 2, 8], 8),
    "shorter than the window": ([2] * 11 + [1], 3),
}


@pytest.mark.parametrize("window", [0, 3, 30])
@pytest.mark.parametrize("cut", CUTS)
def test_packs_that_go_on_are_the_whole(vectors, window, cut):
    random = np.random.default_rng(window)
    conversation = np.where(random.random(TURNS) < 0.3, -2, 0).astype(np.int32)  # absent turns are another one
    seen = random.random(TURNS) < 0.7
    bias = jnp.asarray(random.normal(size=(HEADS, window + 1)), jnp.float32)
    turn = np.arange(TURNS, dtype=np.int32)
    whole, _ = banded_attention(*vectors, conversation, turn, window, keep, bias, seen)

    @jax.jit
    def step(memory, *arrays):
        *qkv, conversation, turn, seen = arrays
        return WindowedAttention(window).apply(
            {MEMORY: memory}, *qkv, conversation, turn, keep, bias, seen, mutable=MEMORY
        )

    sizes, slots = CUTS[cut]
    ends, found, memory = np.cumsum(sizes), [], None
    for begin, end in zip([0, *ends], ends, strict=False):
        arrays = [(x, 0) for x in vectors] + [(conversation, -1), (turn, 0), (seen, False)]
        pack = [placed(x, begin, end, slots, fill) for x, fill in arrays]
        if memory is None:
            shapes = jax.eval_shape(lambda *pack: step({}, *pack)[1][MEMORY], *pack)
            memory = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        (attended, _), changed = step(memory, *pack)
        memory = changed[MEMORY]
        found.append(attended[: end - begin])
    assert ends[-1] == TURNS
    np.testing.assert_allclose(np.concatenate(found), whole, rtol=0, atol=1e-6)
    assert {len(leaf) for leaf in jax.tree.leaves(memory)} == {window}


def test_without_a_memory_it_is_banded_attention(vectors):
    conversation, turn = np.zeros(TURNS, np.int32), np.arange(TURNS, dtype=np.int32)
    found, weights = WindowedAttention(2, future=1).apply({}, *vectors, conversation, turn, keep)
    expected, expected_weights = banded_attention(*vectors, conversation, turn, 2, keep, future=1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(weights, expected_weights)
    assert not jax.tree.leaves(WindowedAttention(2).init(jax.random.key(0), *vectors, conversation, turn, keep))


def test_a_future_cannot_go_on(vectors):
    conversation, turn = np.zeros(TURNS, np.int32), np.arange(TURNS, dtype=np.int32)
    with pytest.raises(ValueError, match="expected attention to no later turn in a pack that goes on, found 1"):
        WindowedAttention(2, future=1).apply({}, *vectors, conversation, turn, keep, mutable=MEMORY)
