"""The optimizer: schedule, learning rates by part, decay, clipping, and AdamW written out in NumPy."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.config import OptimizerConfig
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.interface import Model
from dtrm_jax.training.optimizer import build_optimizer, decay_mask, describe_schedule, part_of, schedule
from tests.factories import assert_trees_close, tiny_config, tiny_model

CONFIG = OptimizerConfig(encoder_learning_rate=0.03, learning_rate=0.5, weight_decay=0.1, warmup_steps=0)
PARTS = {"encoder": 0.03, "intra_modal": 0.5, "discriminator": 0.5}


def make_tree(seed):
    random = np.random.default_rng(seed)
    shapes = {
        ("encoder", "word_embeddings", "embedding"): (5, 3),
        ("encoder", "LayerNorm", "scale"): (3,),
        ("intra_modal", "linear1", "kernel"): (3, 7),
        ("intra_modal", "linear1", "bias"): (7,),
        ("intra_modal", "turn_distance"): (2, 4),
        ("discriminator", "output", "kernel"): (7, 2),
    }
    flat = {path: jnp.asarray(random.normal(size=shape), jnp.float32) for path, shape in shapes.items()}
    return flax.traverse_util.unflatten_dict(flat)


def run(config, total_steps, gradients, params):
    """Returns the parameters after each gradient."""
    optimizer = build_optimizer(config, total_steps, {"encoder"})
    state, history = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history


def adamw(params, gradients, rate_of_step, config, decays):
    """AdamW of Loshchilov and Hutter for one array, in float64."""
    params, history = np.asarray(params, np.float64), []
    first, second = np.zeros_like(params), np.zeros_like(params)
    for step, gradient in enumerate(gradients, start=1):
        gradient = np.asarray(gradient, np.float64)
        first = config.b1 * first + (1 - config.b1) * gradient
        second = config.b2 * second + (1 - config.b2) * gradient**2
        unbiased_first = first / (1 - config.b1**step)
        unbiased_second = second / (1 - config.b2**step)
        update = unbiased_first / (np.sqrt(unbiased_second) + config.eps)
        if decays:
            update = update + config.weight_decay * params
        params = params - rate_of_step(step - 1) * update
        history.append(params)
    return history


def warmed(warmup_steps, total_steps):
    """Returns a schedule with the peak 0.6."""
    return schedule(0.6, OptimizerConfig(warmup_steps=warmup_steps), total_steps)


def test_schedule_at_its_corners():
    rate = warmed(20, 100)
    expected = {0: 0.0, 1: 0.03, 10: 0.3, 20: 0.6, 60: 0.3, 90: 0.075, 99: 0.0075, 100: 0.0, 150: 0.0}
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, abs=1e-7), step


def test_schedule_of_the_paper():
    rate = schedule(6e-6, OptimizerConfig(), total_steps=5000)
    assert float(rate(0)) == 0
    assert float(rate(600)) == pytest.approx(3e-6)
    assert float(rate(1200)) == pytest.approx(6e-6)
    assert float(rate(3100)) == pytest.approx(3e-6)
    assert float(rate(5000)) == 0


def test_without_warmup_the_first_step_has_the_full_rate():
    rate = warmed(0, 10)
    assert float(rate(0)) == pytest.approx(0.6)
    assert float(rate(5)) == pytest.approx(0.3)


@pytest.mark.parametrize("warmup", [50, 51, 1200])
def test_a_warmup_longer_than_the_run_is_cut_to_a_tenth(warmup):
    rate = warmed(warmup, 50)
    assert float(rate(5)) == pytest.approx(0.6)
    assert float(rate(50)) == 0
    assert float(warmed(49, 50)(49)) == pytest.approx(0.6)


@pytest.mark.parametrize("total", [1, 2, 9])
def test_the_shortest_runs_learn(total):
    assert float(warmed(1200, total)(0)) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("warmup", "total", "lines"),
    [
        (1200, 6000, ["rise until step 1200 and fall to 0 until step 6000"]),
        (0, 40, ["begin at their peak and fall to 0 until step 40"]),
        (20, 40, ["rise until step 20 and fall to 0 until step 40"]),
        (21, 40, ["rise until step 21 and fall to 0 until step 40", "warmup_steps=21 is more than half of 40 steps"]),
        (39, 40, ["rise until step 39 and fall to 0 until step 40", "warmup_steps=39 is more than half of 40 steps"]),
        (40, 40, ["rise until step 4 and fall to 0 until step 40", "warmup_steps=40 has no room in 40 steps; warm"]),
        (1200, 9, ["begin at their peak and fall to 0 until step 9", "warmup_steps=1200 has no room in 9 steps; warm"]),
    ],
)
def test_what_becomes_of_the_warmup_is_said(warmup, total, lines):
    found = describe_schedule(OptimizerConfig(warmup_steps=warmup), total)
    assert len(found) == len(lines) and all(words in line for words, line in zip(lines, found, strict=True))
    assert found[0].startswith("the learning rates ")
    assert all(line.startswith("look at this: config.optimizer.") for line in found[1:])


def test_every_parameter_of_the_model_has_a_part():
    params = parameter_shapes(tiny_model(tiny_config(), PackShape(((29, 2),), 7)))
    labels = part_of(params, Model.encoder_parts)
    assert jax.tree.structure(labels) == jax.tree.structure(params)
    assert set(jax.tree.leaves(labels["encoder"])) == {"encoder"}
    assert set(jax.tree.leaves(labels["intra_modal"])) == set(jax.tree.leaves(labels["discriminator"])) == {"above"}
    others = part_of(params, {"discriminator"})
    assert set(jax.tree.leaves(others["discriminator"])) == {"encoder"}
    assert set(jax.tree.leaves(others["encoder"])) == set(jax.tree.leaves(others["intra_modal"])) == {"above"}


def test_both_learning_rates_reach_their_parts():
    # The first step of Adam is the sign of the gradient times the rate.
    params, gradient = make_tree(0), make_tree(1)
    config = dataclasses.replace(CONFIG, weight_decay=0.0)
    [after] = run(config, 10, [gradient], params)
    for part, rate in PARTS.items():
        jax.tree.map(
            lambda new, old, g, rate=rate: np.testing.assert_allclose(old - new, rate * np.sign(g), rtol=1e-4),
            after[part],
            params[part],
            gradient[part],
        )


@pytest.mark.parametrize("decay_all", [True, False])
def test_adamw_equals_its_numpy_transcription(decay_all):
    config = OptimizerConfig(
        encoder_learning_rate=0.03,
        learning_rate=0.5,
        b1=0.8,
        b2=0.97,
        eps=1e-3,
        weight_decay=0.1,
        decay_biases_and_norms=decay_all,
        warmup_steps=2,
    )
    params, gradients, total = make_tree(0), [make_tree(seed) for seed in range(1, 6)], 7
    found = run(config, total, gradients, params)
    for path in flax.traverse_util.flatten_dict(params):
        peak = PARTS[path[0]]

        def rate(step, peak=peak):
            return peak * step / 2 if step < 2 else peak * (total - step) / (total - 2)

        def leaf(tree, path=path):
            return flax.traverse_util.flatten_dict(tree)[path]

        decays = decay_all or path[-1] in ("kernel", "embedding")
        expected = adamw(leaf(params), [leaf(gradient) for gradient in gradients], rate, config, decays)
        np.testing.assert_array_equal(leaf(found[0]), leaf(params))  # the warm-up's first rate is 0
        for step, values in enumerate(expected):
            np.testing.assert_allclose(leaf(found[step]), values, rtol=1e-5, atol=1e-6, err_msg=f"{path} {step}")


def test_decay_mask_of_the_model():
    config = tiny_config(model__intra_modal__turn_distance="learned")
    mask = decay_mask(parameter_shapes(tiny_model(config, PackShape(((29, 2),), 7))))
    flat = flax.traverse_util.flatten_dict(mask)
    for path, decays in flat.items():
        assert decays == (path[-1] not in ("bias", "scale", "turn_distance")), path
    assert sum(flat.values()) == 3 + 2 * 6 + 2 * 6 + 2  # embeddings, encoder layers, intra-modal layers, discriminator


# Those that can be built from the voice alone.
OF_VOICE = [name for name, model in ARCHITECTURES.items() if name == "dialogue_trm" or issubclass(model, Baseline)]


@pytest.mark.parametrize("architecture", OF_VOICE)
def test_all_matrices_and_tensors_of_every_model_decay(architecture):
    config = tiny_config(model__architecture=architecture, model__modalities="a", model__cosmic__commonsense=False)
    params = parameter_shapes(tiny_model(config, PackShape((), 7, features=(("acoustic", 5),))))
    flat = flax.traverse_util.flatten_dict(params)
    for path, decays in flax.traverse_util.flatten_dict(decay_mask(params)).items():
        assert decays == (flat[path].ndim > 1), path


@pytest.mark.parametrize("decay_all", [True, False])
def test_decay_alone_shrinks_what_it_should(decay_all):
    params = make_tree(0)
    nothing = jax.tree.map(jnp.zeros_like, params)
    [after] = run(dataclasses.replace(CONFIG, decay_biases_and_norms=decay_all), 10, [nothing], params)
    for path, value in flax.traverse_util.flatten_dict(after).items():
        decays = decay_all or path[-1] in ("kernel", "embedding")
        factor = 1 - PARTS[path[0]] * 0.1 if decays else 1.0
        np.testing.assert_allclose(value, factor * flax.traverse_util.flatten_dict(params)[path], rtol=1e-6)


def test_gradient_clip_is_by_the_global_norm_of_all_parts():
    params, gradient = make_tree(0), make_tree(1)
    norm = float(optax.tree.norm(gradient))
    # With a large eps the step follows the gradient's size, so that clipping shows.
    config = dataclasses.replace(CONFIG, eps=100.0, weight_decay=0.0)
    scaled = jax.tree.map(lambda g: g / norm * 1.5, gradient)
    clipped = run(dataclasses.replace(config, gradient_clip=1.5), 10, [gradient], params)
    assert norm > 1.5
    assert_trees_close(clipped, run(config, 10, [scaled], params), atol=1e-6)
    loose = run(dataclasses.replace(config, gradient_clip=2 * norm), 10, [gradient], params)
    assert_trees_close(loose, run(config, 10, [gradient], params), atol=1e-6)
    assert not np.array_equal(clipped[0]["encoder"]["LayerNorm"]["scale"], loose[0]["encoder"]["LayerNorm"]["scale"])


def test_at_the_end_of_the_run_nothing_moves():
    params, gradients = make_tree(0), [make_tree(seed) for seed in range(1, 6)]
    history = run(CONFIG, 4, gradients, params)
    assert_trees_close(history[4], history[3], atol=0)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), history[3], history[2])
    assert min(jax.tree.leaves(moved)) > 0
