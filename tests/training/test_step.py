"""The train step: accumulated packs equal one pack, eight devices equal one, and the loss falls."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import ValueSpace
from dtrm_jax.data.packing import build_pack
from dtrm_jax.inference.compiled import make_predict
from dtrm_jax.models import build_model
from dtrm_jax.tasks import Classes, Values
from dtrm_jax.tasks.losses import cross_entropy
from dtrm_jax.training.step import AXIS, initial_state, make_train_step, parallelise
from tests.factories import (
    LABELS,
    assert_trees_close,
    random_examples,
    random_params,
    stack,
    text_only,
    tiny_config,
    tiny_model,
)

SHAPE = PackShape(((29, 7),), 17)
CLASS_WEIGHTS = jnp.array([1.0, 2.0, 0.5, 3.0, 1.5])
TASK = Classes(LABELS)
SMOOTHING = 0.1
DROPOUTS = ("dropout", "encoder__dropout", "encoder__attention_dropout", "intra_modal__dropout")
PACKS = 16
EMPTY = 5  # one of the packs without conversations
# Plain descent shows the gradients themselves; AdamW would blow rounding up where a gradient is zero.
DESCENT = optax.sgd(0.1, momentum=0.9)
TOLERANCE = 1e-6


@functools.cache
def model_with(dropout=0.0):
    # One layer each: compilation is most of these tests' time.
    rates = {f"model__{name}": dropout for name in DROPOUTS}
    return tiny_model(tiny_config(**rates, model__intra_modal__layers=1), SHAPE, layers=1)


def fresh_state():
    params = random_params(model_with())
    return initial_state(params, DESCENT)


def train_step(dropout=0.0, axis_name=None):
    return make_train_step(model_with(dropout), DESCENT, TASK, CLASS_WEIGHTS, SMOOTHING, axis_name)


@functools.cache
def single(dropout=0.0):
    """The step of one device, compiled once for each number of packs."""
    return jax.jit(train_step(dropout))


def conversations(seed, *turns):
    return random_examples(seed, turns, tiny_config(), words=3)


@functools.cache
def uneven_batch():
    """Packs from full to a single labelled turn; one without any label, two empty."""
    turns = [(9, 7), (5,), (1,), (3, 2, 4), (4,), (), (8,), (2,), (6, 6), (1, 1), (), (7,), (3,), (10,), (12,), (4, 9)]
    packs = [build_pack(conversations(seed, *counts), SHAPE) for seed, counts in enumerate(turns)]
    unlabelled = packs[4]
    packs[4] = unlabelled.replace(
        label_U=np.full_like(unlabelled.label_U, -1), weight_U=np.zeros_like(unlabelled.weight_U)
    )
    batch = stack(packs)
    assert batch.label_U.shape[0] == PACKS
    assert len(set(batch.weight_U.sum(axis=1).tolist())) >= 7
    return batch


def parts(batch, *numbers):
    return jax.tree.map(lambda x: x[np.array(numbers)], batch)


def train(step, batch, steps=3, state=None, rng=None):
    """Returns the last state and all sums, on the host."""
    state, sums = state or fresh_state(), []
    for _ in range(steps):
        state, of_step = step(state, batch, jax.random.key(11) if rng is None else rng)
        sums.append(jax.device_get(of_step))
    return jax.device_get(state), sums


@pytest.fixture(scope="module")
def on_one_device():
    return train(single(dropout=0.3), uneven_batch())


def test_a_step_descends_the_mean_loss_of_all_turns():
    """One step of plain descent on two uneven packs, from the definition; and what it says it summed."""
    batch, model, params = parts(uneven_batch(), 0, 2), model_with(), fresh_state().params
    # Turns that have a label and do not count.
    batch = batch.replace(weight_U=batch.weight_U * (np.arange(17) % 3 > 0))

    @functools.partial(jax.value_and_grad, has_aux=True)
    def mean_loss(params):
        def of_pack(pack):
            logits = model.apply({"params": params}, pack, deterministic=True)
            right = (jnp.argmax(logits, -1) == pack.label_U) & (pack.weight_U > 0)
            return *cross_entropy(logits, pack.label_U, pack.weight_U, CLASS_WEIGHTS, SMOOTHING), right.sum()

        loss, weight, correct = (x.sum() for x in jax.vmap(of_pack)(batch))
        return loss / weight, (loss, weight, correct)

    (_, (loss, weight, correct)), gradients = jax.jit(mean_loss)(params)
    state, [sums] = train(single(), batch, steps=1)
    assert_trees_close(state.params, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), atol=TOLERANCE)
    assert int(state.step) == 1
    assert float(sums.loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(sums.weight) == pytest.approx(float(weight))
    assert (float(sums.correct), float(sums.turns)) == (float(correct), float(batch.weight_U.sum()))
    assert 0 < sums.correct < sums.turns < 18


def test_accumulated_packs_equal_one_pack_with_all():
    members = [conversations(0, 9), conversations(2, 5, 1)]
    apart = stack([build_pack(some, SHAPE) for some in members])
    together = stack([build_pack([*members[0], *members[1]], SHAPE)])
    state, sums = train(single(), apart)
    expected, expected_sums = train(single(), together)
    assert_trees_close(state.params, expected.params, atol=TOLERANCE)
    assert_trees_close(sums, expected_sums, atol=1e-5)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.params, fresh_state().params)
    assert min(jax.tree.leaves(moved["discriminator"])) > 1e-4


def test_real_values_descend_the_mean_squared_error_of_what_is_annotated():
    """Two uneven packs, three targets of which some turns have only some: from the definition."""
    shape = PackShape((), 9, values=3, features=(("acoustic", 5),))
    config = tiny_config(model__modalities="a", model__encoder__hidden_size=14, model__intra_modal__layers=1)
    model, random = build_model(config, None, 3, shape), np.random.default_rng(0)

    def pack(turns):
        values = random.normal(size=(turns, 3)).astype(np.float32)
        values[random.random((turns, 3)) < 0.3] = np.nan
        features = {"acoustic": random.normal(size=(turns, 5)).astype(np.float32)}
        example = text_only((), np.full(turns, -1, np.int32))
        return build_pack([dataclasses.replace(example, values=values, features=features)], shape)

    batch, params = stack([pack(8), pack(2)]), random_params(model)
    there = batch.value_weight_UxV > 0
    assert 0 < there.sum() < 30 and there[1].sum() < there[0].sum() / 2

    @functools.partial(jax.value_and_grad, has_aux=True)
    def mean_loss(params):
        outputs = jnp.stack(
            [
                model.apply({"params": params}, jax.tree.map(lambda x, n=n: x[n], batch), deterministic=True)
                for n in (0, 1)
            ]
        )
        errors = jnp.where(there, outputs - batch.value_UxV, 0)
        return (errors**2).sum() / there.sum(), (errors**2).sum()

    (_, total), gradients = jax.jit(mean_loss)(params)
    step = jax.jit(make_train_step(model, DESCENT, Values(ValueSpace(("x", "y", "z"))), jnp.ones(3), 0.0))
    state, [sums] = train(step, batch, steps=1, state=initial_state(params, DESCENT))
    assert_trees_close(state.params, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients), atol=TOLERANCE)
    assert float(sums.loss) == pytest.approx(float(total), rel=1e-5)
    assert (float(sums.weight), float(sums.turns)) == (there.sum(), there.any(axis=2).sum())


def test_empty_packs_change_nothing():
    with_filler, sums = train(single(), parts(uneven_batch(), 0, EMPTY), steps=2)
    without, same_sums = train(single(), parts(uneven_batch(), 0), steps=2)
    assert_trees_close(with_filler.params, without.params, atol=TOLERANCE)
    assert_trees_close(sums, same_sums, atol=1e-5)
    only_fillers, [nothing] = train(single(), parts(uneven_batch(), 4, EMPTY), steps=1)
    assert (float(nothing.weight), float(nothing.loss)) == (0.0, 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(only_fillers.params))


def test_a_mesh_of_eight_equals_one_device(on_one_device):
    """Uneven masks, dropout on, two packs accumulated on every device."""
    mesh = Mesh(np.array(jax.devices()[:8]), (AXIS,))
    state, sums = train(parallelise(train_step(dropout=0.3, axis_name=AXIS), mesh), uneven_batch())
    expected, expected_sums = on_one_device
    assert int(state.step) == 3
    assert_trees_close(state.params, expected.params, atol=TOLERANCE)
    assert_trees_close(sums, expected_sums, atol=1e-4)


def test_pmap_over_eight_equals_one_device(on_one_device):
    step = jax.pmap(train_step(dropout=0.3, axis_name=AXIS), axis_name=AXIS, devices=jax.devices()[:8])
    batch = jax.tree.map(lambda x: x.reshape(8, PACKS // 8, *x.shape[1:]), uneven_batch())
    state = jax.tree.map(lambda x: np.stack([x] * 8), fresh_state())
    state, sums = train(step, batch, state=state, rng=jnp.stack([jax.random.key(11)] * 8))
    expected, expected_sums = on_one_device
    for device in range(8):
        of_device = jax.tree.map(lambda x, device=device: x[device], state)
        assert_trees_close(of_device.params, expected.params, atol=TOLERANCE)
    assert_trees_close(jax.tree.map(lambda x: x[0], sums), expected_sums, atol=1e-4)


def test_dropout_differs_by_step_pack_and_key():
    state = fresh_state()

    def loss(*packs, step=0, key=0):
        batch = parts(uneven_batch(), *packs, *[EMPTY] * (PACKS - len(packs)))
        return float(single(0.3)(state.replace(step=jnp.array(step)), batch, jax.random.key(key))[1].loss)

    assert loss(0) == loss(0)
    assert len({loss(0), loss(0, step=1), loss(0, step=2), loss(0, key=1), loss(EMPTY, 0)}) == 5
    # The dropout of a pack depends on its place, not on the packs beside it.
    assert loss(0, 6, 3) == pytest.approx(loss(0) + loss(EMPTY, 6) + loss(EMPTY, EMPTY, 3), rel=1e-5)


def test_the_loss_falls_until_a_small_batch_is_known_by_heart():
    batch = parts(uneven_batch(), 0)
    # Adam: plain descent at a rate that gets there in 150 steps may leap out again.
    adam, params = optax.adam(3e-3), random_params(model_with())
    step = jax.jit(make_train_step(model_with(), adam, TASK, CLASS_WEIGHTS, SMOOTHING))
    start = initial_state(params, adam)
    _, sums = train(step, batch, steps=150, state=start)
    first, last = (float(of_step.loss / of_step.weight) for of_step in (sums[0], sums[-1]))
    # Smoothed targets of 0.92 and four times 0.02 have an entropy of 0.39: nothing is below it.
    assert 0.38 < last < 0.5 < 1.0 < first
    assert sums[-1].correct == sums[-1].turns == batch.weight_U.sum()


def test_predict_gives_probabilities_of_every_pack_without_dropout():
    batch = parts(uneven_batch(), 0, 3, EMPTY)
    params = random_params(model_with())
    predict = make_predict(model_with(0.3), TASK)
    packs = [jax.tree.map(lambda x, n=n: x[n], batch) for n in range(3)]
    probabilities = np.stack([predict(params, pack) for pack in packs])
    logits_of = jax.jit(functools.partial(model_with().apply, deterministic=True))
    assert probabilities.shape == (3, 17, len(LABELS)) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    for number, pack in enumerate(packs):
        logits = np.asarray(logits_of({"params": params}, pack))
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(probabilities[number], expected, atol=1e-5)
