"""The train step: accumulated packs equal one pack, eight devices equal one, and the loss falls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from dtrm_jax.batch import PackShape
from dtrm_jax.config import OptimizerConfig
from dtrm_jax.data.packing import build_pack
from dtrm_jax.evaluation.evaluate import make_predict
from dtrm_jax.training.losses import cross_entropy
from dtrm_jax.training.optimizer import build_optimizer
from dtrm_jax.training.step import AXIS, TrainState, make_train_step, parallelise
from tests.factories import LABELS, assert_trees_close, random_params, random_tokenized, stack, tiny_config, tiny_model

SHAPE = PackShape(((29, 7),), 17)
CLASS_WEIGHTS = jnp.array([1.0, 2.0, 0.5, 3.0, 1.5])
SMOOTHING = 0.1
DROPOUTS = ("model__dropout", "model__encoder__dropout", "model__encoder__attention_dropout", "model__intra_modal__dropout")
# Plain descent shows the gradients themselves; AdamW would blow rounding up where a gradient is zero.
DESCENT = optax.sgd(0.1)
TOLERANCE = 1e-6


@functools.cache
def model_with(dropout=0.0):
    # One layer each: compilation is most of these tests' time.
    return tiny_model(tiny_config(**dict.fromkeys(DROPOUTS, dropout), model__intra_modal__layers=1), SHAPE, layers=1)


def fresh_state():
    params = random_params(model_with())
    return TrainState(jnp.zeros((), jnp.int32), params, DESCENT.init(params))


def train_step(dropout=0.0, axis_name=None):
    return make_train_step(model_with(dropout), DESCENT, CLASS_WEIGHTS, SMOOTHING, axis_name)


@functools.cache
def single(dropout=0.0):
    """The step of one device, compiled once for each number of packs."""
    return jax.jit(train_step(dropout))


def conversations(seed, *turns):
    return random_tokenized(seed, turns, tiny_config(), words=3)


@functools.cache
def uneven_batch():
    """Eight packs: from full to a single labelled turn, one without any label, one empty."""
    packs = [build_pack(conversations(seed, *turns), SHAPE) for seed, turns in enumerate([(9, 7), (5,), (1,), (3, 2, 4)])]
    unlabelled = packs[1].replace(label_U=np.full_like(packs[1].label_U, -1), weight_U=np.zeros_like(packs[1].weight_U))
    packs += [unlabelled, build_pack([], SHAPE), build_pack(conversations(7, 8), SHAPE), build_pack(conversations(8, 2), SHAPE)]
    batch = stack(packs)
    assert len(set(batch.weight_U.sum(axis=1).tolist())) >= 5
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

    @functools.partial(jax.value_and_grad, has_aux=True)
    def mean_loss(params):
        sums, correct = np.zeros(2), 0.0
        for number in range(2):
            pack = jax.tree.map(lambda x, number=number: x[number], batch)
            logits = model.apply({"params": params}, pack, deterministic=True)
            of_pack = cross_entropy(logits, pack.label_U, pack.weight_U, CLASS_WEIGHTS, SMOOTHING)
            sums += jnp.stack(of_pack)
            correct += ((jnp.argmax(logits, -1) == pack.label_U) & (pack.weight_U > 0)).sum()
        return sums[0] / sums[1], (*sums, correct)

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


def test_empty_packs_change_nothing():
    with_filler, sums = train(single(), parts(uneven_batch(), 0, 5), steps=2)
    without, same_sums = train(single(), parts(uneven_batch(), 0), steps=2)
    assert_trees_close(with_filler.params, without.params, atol=TOLERANCE)
    assert_trees_close(sums, same_sums, atol=1e-5)
    only_fillers, [nothing] = train(single(), parts(uneven_batch(), 4, 5), steps=1)
    assert (float(nothing.weight), float(nothing.loss)) == (0.0, 0.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(only_fillers.params))


@pytest.mark.parametrize("devices", [2, 8])
def test_a_mesh_equals_one_device(on_one_device, devices):
    """Uneven masks, dropout on; two devices accumulate four packs each."""
    mesh = Mesh(np.array(jax.devices()[:devices]), (AXIS,))
    step = parallelise(train_step(dropout=0.3, axis_name=AXIS), mesh)
    state, sums = train(step, uneven_batch())
    expected, expected_sums = on_one_device
    assert int(state.step) == 3
    assert_trees_close(state.params, expected.params, atol=TOLERANCE)
    assert_trees_close(sums, expected_sums, atol=1e-4)


@pytest.mark.parametrize("devices", [4, 8])
def test_pmap_equals_one_device(on_one_device, devices):
    step = jax.pmap(train_step(dropout=0.3, axis_name=AXIS), axis_name=AXIS, devices=jax.devices()[:devices])
    batch = jax.tree.map(lambda x: x.reshape(devices, 8 // devices, *x.shape[1:]), uneven_batch())
    state = jax.tree.map(lambda x: jnp.stack([x] * devices), fresh_state())
    keys = jnp.stack([jax.random.key(11)] * devices)
    state, sums = train(step, batch, state=state, rng=keys)
    expected, expected_sums = on_one_device
    for device in range(devices):
        of_device = jax.tree.map(lambda x, device=device: x[device], state)
        assert_trees_close(of_device.params, expected.params, atol=TOLERANCE)
    assert_trees_close(jax.tree.map(lambda x: x[0], sums), expected_sums, atol=1e-4)


def test_dropout_differs_by_step_pack_and_key():
    batch, state = uneven_batch(), fresh_state()
    empty = 5

    def loss(*packs, step=0, key=0):
        packs += (empty,) * (8 - len(packs))
        return float(single(0.3)(state.replace(step=jnp.array(step)), parts(batch, *packs), jax.random.key(key))[1].loss)

    assert loss(0) == loss(0)
    assert len({loss(0), loss(0, step=1), loss(0, step=2), loss(0, key=1), loss(empty, 0)}) == 5
    # The dropout of a pack depends on its place, not on the packs beside it.
    assert loss(0, 6, 3) == pytest.approx(loss(0) + loss(empty, 6) + loss(empty, empty, 3), rel=1e-5)


def test_the_loss_falls_until_a_small_batch_is_known_by_heart():
    model = model_with()
    optimizer = build_optimizer(
        OptimizerConfig(encoder_learning_rate=0.02, learning_rate=0.02, warmup_steps=5), total_steps=100
    )
    batch = parts(uneven_batch(), 0)
    step = jax.jit(make_train_step(model, optimizer, jnp.ones(len(LABELS)), 0.0), donate_argnums=0)
    params = random_params(model)
    state, means = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params)), []
    for _ in range(100):
        state, sums = step(state, batch, jax.random.key(0))
        means.append(float(sums.loss / sums.weight))
    assert means[-1] < 0.05 < 1.0 < means[0]
    probabilities = make_predict(model)(state.params, batch)
    known = batch.weight_U > 0
    assert (np.argmax(probabilities, -1) == batch.label_U)[known].all()


def test_predict_gives_probabilities_of_every_pack_without_dropout():
    batch = parts(uneven_batch(), 0, 3, 5)
    params = random_params(model_with())
    probabilities = np.asarray(make_predict(model_with(0.3))(params, batch))
    logits_of = jax.jit(functools.partial(model_with().apply, deterministic=True))
    assert probabilities.shape == (3, 17, len(LABELS)) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-5)
    for number in range(3):
        pack = jax.tree.map(lambda x, n=number: x[n], batch)
        logits = np.asarray(logits_of({"params": params}, pack))
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(probabilities[number], expected, atol=1e-5)
