"""MulT against its equations in NumPy and float64, turn by turn; and which turns it sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.dialogue_trm.fusions.mult import CrossmodalTransformer
from dtrm_jax.models.layers.attention import banded_attention
from tests.factories import random_params_like
from tests.fusions import (
    CONFIG,
    FEED_FORWARD,
    HEADS,
    SUBSETS,
    TRIPLE,
    WIDTH,
    WINDOW,
    built,
    count,
    everywhere,
    representations,
    side_by_side,
)

LAYERS = 2
# Three blocks of the banded attention; unused slots at the end.
PLACE = side_by_side([4, 1, 13, 3], unused=2)
UTTERANCES = len(PLACE.turn_U)
USED = PLACE.conversation_U >= 0
SAME = (PLACE.conversation_U[:, None] == PLACE.conversation_U) & USED
DISTANCE = PLACE.turn_U[:, None] - PLACE.turn_U
FUTURE = 1
REACH = SAME & (DISTANCE >= 0) & (DISTANCE <= WINDOW * (1 + LAYERS))
REACH_AHEAD = SAME & (DISTANCE >= -FUTURE * (1 + LAYERS)) & (DISTANCE <= WINDOW * (1 + LAYERS))
TOLERANCE = 1e-5


def some_absent(names):
    """Each modality lacks turns of its own; turn 5 (the first of its conversation) has nothing."""
    present_U = everywhere(names, UTTERANCES)
    for lacks, name in zip(([0, 5, 9, 10, 11], [1, 2, 5, 10], [5, 8, 10, 18]), names, strict=False):
        present_U[name][lacks] = False
    return present_U


def fused(names, present_U, future=0):
    """The inputs, the parameters, the function and the output."""
    r_UxD = representations(names, UTTERANCES)
    params, apply = built("mult", r_UxD, present_U, PLACE, future, layers=LAYERS)
    return r_UxD, params, apply, np.asarray(apply(params, r_UxD, present_U))


def transcribed(names, r, present_U, params):
    """The equations; ``C`` is a crossmodal Transformer, ``T`` a target's own."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    targets = []
    for x in names:
        crossed = [transformer(r[x], r[y], present_U[y], p[f"{y[0]}_to_{x[0]}"]) for y in names if y != x]
        t = transformer(np.concatenate(crossed, axis=1), None, present_U[x], p[x[0]])
        targets.append(t * present_U[x][:, None])
    return np.concatenate(targets, axis=1) @ p["project"]["kernel"] + p["project"]["bias"]


def transformer(x, source, seen_U, p):
    for layer in range(LAYERS):
        q = p[f"layer_{layer}"]
        normed = layer_norm(x, q["norm1"])
        x = x + attention(normed, normed if source is None else layer_norm(source, q["norm1"]), seen_U, q["attention"])
        hidden = np.maximum(dense(layer_norm(x, q["norm2"]), q["linear1"]), 0)
        x = x + dense(hidden, q["linear2"])
    return layer_norm(x, p["norm"])


def attention(x, source, seen_U, p):
    """One turn and one head at a time, over the keys that it sees alone; nothing where there are none."""
    q, k, v = dense(x, p["query"]), dense(source, p["key"]), dense(source, p["value"])
    size = x.shape[1] // HEADS
    result = np.zeros_like(q)
    for i in range(UTTERANCES):
        keys = [j for j in range(i + 1) if SAME[i, j] and DISTANCE[i, j] <= WINDOW and seen_U[j]]
        for part in (slice(head * size, (head + 1) * size) for head in range(HEADS) if keys):
            weights = np.exp([q[i, part] @ k[j, part] / np.sqrt(size) for j in keys])
            result[i, part] = weights / weights.sum() @ v[keys, part]
    return dense(result, p["out"])


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def layer_norm(x, p):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


@pytest.mark.parametrize("presence", [everywhere, lambda names, _: some_absent(names)], ids=["complete", "some absent"])
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_equals_the_equations(names, presence):
    present_U = presence(names, UTTERANCES)
    r_UxD, params, _, found = fused(names, present_U)
    expected = transcribed(names, r_UxD, present_U, params)
    np.testing.assert_allclose(found[USED], expected[USED], rtol=0, atol=TOLERANCE)
    assert np.isfinite(found).all() and np.std(found, axis=0).min() > 0.01
    if not any(present_U[name][5] for name in names):
        np.testing.assert_array_equal(found[5], params["project"]["bias"])


@pytest.mark.parametrize(("future", "reach"), [(0, REACH), (FUTURE, REACH_AHEAD)])
def test_a_modality_acts_on_the_turns_that_see_it(future, reach):
    """Crossmodal attention reaches K turns back, each of the layers of self-attention K more; ahead, F likewise."""
    acts = jacobians(TRIPLE[:2], everywhere(TRIPLE[:2], UTTERANCES), future)
    for name in TRIPLE[:2]:
        np.testing.assert_array_equal(acts[name][USED], reach[USED])


def test_another_turn_of_no_concern_changes_nothing_at_all():
    r_UxD, params, apply, found = fused(TRIPLE, everywhere(TRIPLE, UTTERANCES))
    for turn in (2, 4, 9, 17):
        other = {name: x.copy() for name, x in r_UxD.items()}
        for x in other.values():
            x[turn] = 50
        changed = (np.asarray(apply(params, other, everywhere(TRIPLE, UTTERANCES))) != found).any(axis=1)
        np.testing.assert_array_equal(changed, REACH[:, turn])


def test_what_a_turn_lacks_acts_on_no_turn():
    present_U = some_absent(TRIPLE[:2])
    acts = jacobians(TRIPLE[:2], present_U)
    for name in TRIPLE[:2]:
        assert not acts[name][:, ~present_U[name]].any()
        assert acts[name][:, present_U[name] & USED].any(axis=0).all()


def jacobians(names, present_U, future=0):
    """Modality -> bool [U, U]: whether the second turn acts on the first."""
    r_UxD, params, apply, _ = fused(names, present_U, future)
    result = jax.jit(jax.jacrev(lambda r: apply(params, r, present_U)))(r_UxD)
    return {name: np.abs(x).max(axis=(1, 3)) > 0 for name, x in result.items()}


def test_recomputing_layers_changes_nothing_and_dropout_does():
    config = dataclasses.replace(CONFIG, layers=1, dropout=0.5)
    x_UxD, source_UxD = (jnp.asarray(x) for x in representations(TRIPLE[:2], UTTERANCES).values())

    def arrangement(q, k, v, drop):
        return banded_attention(q, k, v, *PLACE, WINDOW, drop)

    def gradient(remat, deterministic):
        module = CrossmodalTransformer(config, jnp.float32, remat)
        given = (source_UxD, arrangement, deterministic)
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x_UxD, source_UxD, arrangement, True)["params"])
        variables, rngs = {"params": random_params_like(shapes)}, {"dropout": jax.random.key(1)}
        return jax.jit(jax.grad(lambda x: (module.apply(variables, x, *given, rngs=rngs) ** 2).mean()))(x_UxD)

    plain, again, dropped = gradient(False, True), gradient(True, True), gradient(True, False)
    np.testing.assert_allclose(again, plain, rtol=0, atol=1e-7)
    assert np.isfinite(dropped).all() and np.abs(dropped - plain).max() > 1e-3


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
def test_the_parameters_are_a_transformer_for_each_ordered_pair_and_each_modality(names):
    _, params, _, _ = fused(names, everywhere(names, UTTERANCES))
    pairs, wide = len(names) * (len(names) - 1), (len(names) - 1) * WIDTH

    def transformer_size(width):
        layer = 4 * (width**2 + width) + 2 * width * FEED_FORWARD + FEED_FORWARD + width + 2 * 2 * width
        return LAYERS * layer + 2 * width

    project = len(names) * wide * WIDTH + WIDTH
    assert count(params) == pairs * transformer_size(WIDTH) + len(names) * transformer_size(wide) + project
    assert {"u_to_a", "a_to_u", "u", "a", "project"} <= set(params) and len(params) == pairs + len(names) + 1
