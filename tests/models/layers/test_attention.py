"""Attention's arrangements against the plain formula: rows, bands, distance bias, context-free."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import IntraModalConfig
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal, _free
from dtrm_jax.models.layers.attention import attend, banded_attention, row_attention
from dtrm_jax.models.layers.masks import context_dependent_mask
from dtrm_jax.models.layers.transformer import Transformer

HEADS, WIDTH = 3, 5
TOLERANCE = 2e-6


def keep(weights):
    return weights


def random_qkv(slots, seed=0):
    q, k, v = np.random.default_rng(seed).normal(size=(3, slots, HEADS, WIDTH)).astype(np.float32)
    return jnp.asarray(q), jnp.asarray(k), jnp.asarray(v)


def plain_attention(q, k, v, mask, bias=None):
    """The formula in float64, one head and one query at a time, over the admitted keys alone."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    output = np.zeros_like(q)
    for query in range(q.shape[0]):
        seen = np.flatnonzero(np.asarray(mask)[query])
        for head in range(q.shape[1]):
            scores = np.array([q[query, head] @ k[key, head] / np.sqrt(q.shape[2]) for key in seen])
            if bias is not None:
                scores += [bias[head, query, key] for key in seen]
            weights = np.exp(scores - scores.max())
            output[query, head] = (weights / weights.sum()) @ v[seen, head]
    return output


def layout(utterances, seed):
    """Random conversations side by side, with a few unused slots at the end."""
    random = np.random.default_rng(seed)
    used = utterances - int(random.integers(0, 4)) if utterances > 4 else utterances
    sizes = []
    while sum(sizes) < used:
        sizes.append(min(int(random.integers(1, 24)), used - sum(sizes)))
    conversation = np.full(utterances, -1, np.int32)
    turn = np.zeros(utterances, np.int32)
    conversation[:used] = np.repeat(np.arange(len(sizes)), sizes)
    turn[:used] = np.concatenate([np.arange(size) for size in sizes])
    return jnp.asarray(conversation), jnp.asarray(turn)


# With dropout that does nothing, and without, which is another arrangement of the same.
both_forms = pytest.mark.parametrize("drop", [keep, None])


@both_forms
def test_two_keys_by_hand(drop):
    # Scores q k / sqrt(4) = 0 and log 3: weights 1/4 and 3/4.
    q = jnp.full((1, 1, 4), 1.0)
    k = jnp.stack([jnp.zeros((1, 4)), jnp.full((1, 4), np.log(3) / 2)])
    v = jnp.array([[[8.0, 0, 0, 0]], [[0, 4.0, 0, 0]]])
    output, weights = attend(q, k, v, jnp.ones((1, 2), bool), drop)
    np.testing.assert_allclose(weights, [[[0.25, 0.75]]], rtol=1e-6)
    np.testing.assert_allclose(output, [[[2.0, 3.0, 0, 0]]], rtol=1e-6)


@both_forms
def test_masked_keys_weigh_exactly_nothing_whatever_they_hold(drop):
    q, k, v = random_qkv(7)
    mask = jnp.asarray(np.random.default_rng(1).random((7, 7)) < 0.5) | jnp.eye(7, dtype=bool)
    _, weights = attend(q, k, v, mask, drop)
    np.testing.assert_array_equal(np.asarray(weights)[:, ~np.asarray(mask)], 0.0)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-6)
    output, _ = attend(q, 1e4 * k, v, mask, drop)
    assert np.isfinite(np.asarray(output)).all()


@both_forms
def test_attend_equals_the_formula(drop):
    q, k, v = random_qkv(11)
    mask = np.random.default_rng(1).random((11, 11)) < 0.4
    mask |= np.eye(11, dtype=bool)
    bias = np.random.default_rng(2).normal(size=(HEADS, 11, 11)).astype(np.float32)
    output, _ = attend(q, k, v, jnp.asarray(mask), drop)
    np.testing.assert_allclose(output, plain_attention(q, k, v, mask), atol=TOLERANCE)
    output, _ = attend(q, k, v, jnp.asarray(mask), drop, jnp.asarray(bias))
    np.testing.assert_allclose(output, plain_attention(q, k, v, mask, bias), atol=TOLERANCE)


def test_drop_acts_on_the_weights_and_is_not_in_those_returned():
    q, k, v = random_qkv(5)
    mask = jnp.ones((5, 5), bool)
    plain, weights = attend(q, k, v, mask, keep)
    halved, same = attend(q, k, v, mask, lambda w: w / 2)
    np.testing.assert_allclose(halved, plain / 2, rtol=1e-6)
    np.testing.assert_array_equal(same, weights)


@both_forms
def test_softmax_is_in_float32_and_the_output_in_the_inputs_type(drop):
    q, k, v = (x.astype(jnp.bfloat16) for x in random_qkv(7))
    output, weights = attend(q, k, v, jnp.ones((7, 7), bool), drop)
    assert (output.dtype, weights.dtype) == (jnp.bfloat16, jnp.bfloat16)
    np.testing.assert_allclose(output.astype(float), plain_attention(q, k, v, np.ones((7, 7))), atol=0.03)


@pytest.mark.parametrize(("window", "future"), [(0, 0), (3, 0), (8, 0), (13, 0), (0, 8), (3, 2), (3, 13), (13, 3)])
@pytest.mark.parametrize("utterances", [1, 7, 53])
def test_banded_equals_dense(utterances, window, future):
    q, k, v = random_qkv(utterances, seed=utterances)
    conversation, turn = layout(utterances, seed=window)

    @jax.jit
    def both(q, k, v):
        mask = context_dependent_mask(conversation, turn, conversation, turn, window, future)
        banded = banded_attention(q, k, v, conversation, turn, window, keep, future=future)
        return *banded, attend(q, k, v, mask, keep)[0]

    output, weights, expected = both(q, k, v)
    used = np.asarray(conversation) >= 0
    np.testing.assert_allclose(np.asarray(output)[used], np.asarray(expected)[used], rtol=0, atol=TOLERANCE)
    assert output.shape == q.shape
    assert np.isfinite(np.asarray(output)).all()
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("future", [0, 5])
def test_banded_cost_is_linear_in_the_number_of_turns(future):
    def scores(utterances):
        turn = jax.ShapeDtypeStruct((utterances,), jnp.int32)
        x = jax.ShapeDtypeStruct((utterances, HEADS, WIDTH), jnp.float32)
        weights = jax.eval_shape(lambda x, t: banded_attention(x, x, x, t, t, 5, keep, future=future)[1], x, turn)
        return weights.size

    assert scores(160) == 2 * scores(80)
    assert scores(80) < HEADS * 80 * 80


@pytest.mark.parametrize("future", [0, 2])
@pytest.mark.parametrize("utterances", [5, 53])
def test_bias_is_by_distance(utterances, future):
    window = 3
    q, k, v = random_qkv(utterances)
    conversation, turn = layout(utterances, seed=1)
    mask = context_dependent_mask(conversation, turn, conversation, turn, window, future)
    by_distance = np.random.default_rng(3).normal(size=(HEADS, window + 1 + future)).astype(np.float32)
    bias = np.zeros((HEADS, utterances, utterances))
    for i in range(utterances):
        for j in range(max(0, i - window), i + 1):
            bias[:, i, j] = by_distance[:, i - j]
        for j in range(i + 1, min(utterances, i + 1 + future)):
            bias[:, i, j] = by_distance[:, window + future - (j - i - 1)]
    run = jax.jit(lambda bias: banded_attention(q, k, v, conversation, turn, window, keep, bias, future=future)[0])
    output = run(jnp.asarray(by_distance))
    used = np.asarray(conversation) >= 0
    np.testing.assert_allclose(np.asarray(output)[used], plain_attention(q, k, v, mask, bias)[used], atol=TOLERANCE)


def test_row_attention_equals_each_sequence_alone():
    # Rows: [0 0 0 0 1 1 1], [2 2 2 2 2 . .], and one longer row [3 x 6, 4 x 4, .]; the two kinds meet on the flat axis.
    ids = np.array([0] * 4 + [1] * 3 + [2] * 5 + [-1] * 2 + [3] * 6 + [4] * 4 + [-1], np.int32)
    rows = ((7, 2), (11, 1))
    q, k, v = random_qkv(len(ids))
    output, weights = jax.jit(lambda q: row_attention(q, k, v, jnp.asarray(ids), rows, keep))(q)
    assert output.shape == q.shape
    assert [w.shape for w in weights] == [(2, HEADS, 7, 7), (1, HEADS, 11, 11)]
    for sequence in range(5):
        own = ids == sequence
        size = own.sum()
        expected = plain_attention(q[own], k[own], v[own], np.ones((size, size)))
        np.testing.assert_allclose(np.asarray(output)[own], expected, atol=TOLERANCE)
    assert np.isfinite(np.asarray(output)).all()


def test_a_sequence_id_in_two_rows_is_two_sequences():
    # A pack never holds this; it shows that a row is the limit of attention.
    ids = jnp.zeros(6, jnp.int32)
    q, k, v = random_qkv(6)
    output, _ = row_attention(q, k, v, ids, ((3, 2),), keep)
    for part in (slice(0, 3), slice(3, 6)):
        expected = plain_attention(q[part], k[part], v[part], np.ones((3, 3)))
        np.testing.assert_allclose(output[part], expected, atol=TOLERANCE)


def test_context_free_equals_attention_masked_by_the_identity():
    config = IntraModalConfig(layers=2, heads=3, feed_forward=11, dropout=0.0)
    width, utterances = 15, 7
    x = jnp.asarray(np.random.default_rng(0).normal(size=(utterances, width)), jnp.float32)
    conversation, turn = jnp.zeros(utterances, jnp.int32), jnp.arange(utterances)
    module = IntraModal(config, "free", window=3, dtype=jnp.float32)
    params = jax.jit(module.init, static_argnums=4)(jax.random.key(0), x, conversation, turn, True)["params"]

    def dense(q, k, v, drop):
        return attend(q, k, v, jnp.eye(utterances, dtype=bool), drop)

    transformer = Transformer(config, jnp.float32)
    expected = jax.jit(lambda x: transformer.apply({"params": params["transformer"]}, x, dense, True))(x)
    found = jax.jit(lambda x: module.apply({"params": params}, x, conversation, turn, True))(x)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_context_free_computes_no_attention_scores():
    """Neither a softmax nor a product of queries and keys: what is traced has no exponential and two products less."""
    config = IntraModalConfig(layers=1, heads=3, feed_forward=11, dropout=0.0)
    x, turn = jnp.zeros((7, 15)), jnp.arange(7)
    operations = {}
    for context in ("free", "dependent"):
        module = IntraModal(config, context, window=3, dtype=jnp.float32)
        params = jax.eval_shape(lambda module=module: module.init(jax.random.key(0), x, 0 * turn, turn, True)["params"])
        traced = str(jax.make_jaxpr(lambda p, m=module: m.apply({"params": p}, x, 0 * turn, turn, True))(params))
        operations[context] = (traced.count(" exp "), traced.count("dot_general["))
    assert operations["dependent"][0] == 1 and operations["free"][0] == 0
    assert operations["dependent"][1] - operations["free"][1] == 2


def test_context_free_drops_whole_heads_of_a_turn():
    # The weight of a turn on itself is 1; dropout on it zeroes or scales all values of a head together.
    _, _, v = random_qkv(7)
    dropped = jnp.asarray(np.random.default_rng(4).choice([0.0, 2.0], (7, HEADS)), jnp.float32)
    output, weights = _free(v, v, v, lambda w: w * dropped[..., None])
    np.testing.assert_array_equal(output, v * dropped[..., None])
    np.testing.assert_array_equal(weights, jnp.ones((7, HEADS, 1)))


def test_heads_must_divide_the_width():
    config = IntraModalConfig(layers=1, heads=4, feed_forward=11, dropout=0.0)
    module = IntraModal(config, "dependent", window=3, dtype=jnp.float32)
    with pytest.raises(ValueError, match="expected a width divisible by 4 heads, found 15"):
        module.init(jax.random.key(0), jnp.zeros((2, 15)), jnp.zeros(2, jnp.int32), jnp.arange(2), True)
