"""MGIF against eq. 7 to 16 written out in NumPy and float64, its masks, and what can be read out of it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.fusions.mgif import MGIF, pairs
from tests.factories import random_params_like
from tests.fusions import side_by_side

# Pairwise distinct, so that swapped axes fail.
UTTERANCES, WIDTH, HEADS, FEED_FORWARD, LAYERS = 5, 8, 2, 11, 4
TOLERANCE = 1e-5
PLACE = side_by_side([UTTERANCES])
SUBSETS = (
    ("utterance", "acoustic"),
    ("utterance", "visual"),
    ("acoustic", "visual"),
    ("utterance", "acoustic", "visual"),
)
CONFIG = FusionConfig(layers=LAYERS, heads=HEADS, feed_forward=FEED_FORWARD, dropout=0.0)


def representations(names, seed=0):
    random = np.random.default_rng(seed)
    return {name: random.normal(size=(UTTERANCES, WIDTH)).astype(np.float32) for name in names}


def everywhere(names):
    return {name: np.ones(UTTERANCES, bool) for name in names}


def fused(r_UxD, present_U, params=None, config=CONFIG, **settings):
    """The module's parameters and its output."""
    module = MGIF(config=config, window=0, dtype=jnp.float32)
    if params is None:
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), r_UxD, present_U, PLACE, True)["params"])
        params = random_params_like(shapes)
    apply = jax.jit(lambda params, r, present: module.apply({"params": params}, r, present, PLACE, True, **settings))
    return params, apply(params, r_UxD, present_U)


def transcribed(names, r_UxD, params):
    """Eq. 7 to 16, turn by turn, as the paper writes them; names in the paper's order."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    result = []
    for i in range(UTTERANCES):
        r = {name: np.asarray(r_UxD[name][i], np.float64) for name in names}
        sequence = [p["e_cls"]]
        for x, y in itertools.combinations(names, 2):
            gate = p[f"gate_{x[0]}{y[0]}"]
            h_x = np.tanh(gate["x"]["kernel"].T @ r[x])  # eq. 7
            h_y = np.tanh(gate["y"]["kernel"].T @ r[y])  # eq. 8
            z = 1 / (1 + np.exp(-(gate["z"]["kernel"].T @ np.concatenate([r[x], r[y]]))))  # eq. 9
            sequence += [z * h_x, (1 - z) * h_y]  # eq. 10 and 11
        m = np.stack(sequence)  # eq. 15
        for layer in range(LAYERS):
            m = transformer_layer(m, p["transformer"][f"layer_{layer}"])
        result.append(m[0])  # eq. 16, read at e_CLS
    return np.stack(result)


def transformer_layer(m, p):
    """torch.nn.TransformerEncoderLayer's defaults: post-norm, ReLU; every position sees every other."""
    q, k, v = (m @ p["attention"][n]["kernel"] + p["attention"][n]["bias"] for n in ("query", "key", "value"))
    attended, size = [], WIDTH // HEADS
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = q[:, part] @ k[:, part].T / np.sqrt(size)
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        attended.append(weights @ v[:, part])
    out = np.concatenate(attended, axis=1) @ p["attention"]["out"]["kernel"] + p["attention"]["out"]["bias"]
    m = layer_norm(m + out, p["norm1"])
    hidden = np.maximum(m @ p["linear1"]["kernel"] + p["linear1"]["bias"], 0)
    return layer_norm(m + hidden @ p["linear2"]["kernel"] + p["linear2"]["bias"], p["norm2"])


def layer_norm(x, p):
    centered = x - x.mean(axis=-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_equals_the_equations(names):
    r_UxD = representations(names)
    params, found = fused(r_UxD, everywhere(names))
    np.testing.assert_allclose(found, transcribed(names, r_UxD, params), rtol=0, atol=TOLERANCE)
    assert np.std(found, axis=0).min() > 0.01, "turns must differ for this to mean anything"


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_the_order_is_fixed_whatever_the_order_of_the_inputs(names):
    r_UxD, present_U = representations(names), everywhere(names)
    params, found = fused(r_UxD, present_U)
    _, again = fused(dict(reversed(r_UxD.items())), present_U, params)
    np.testing.assert_array_equal(found, again)


def test_pairs_and_positions():
    assert pairs(["visual", "utterance", "acoustic"]) == [
        ("utterance", "acoustic"),
        ("utterance", "visual"),
        ("acoustic", "visual"),
    ]
    assert MGIF.positions(["utterance", "acoustic", "visual"]) == ["e_CLS", "ua", "au", "uv", "vu", "av", "va"]
    assert MGIF.positions(["visual", "acoustic"]) == ["e_CLS", "av", "va"]


def test_gates_have_no_biases_and_each_pair_its_own_weights():
    names = SUBSETS[-1]
    params, _ = fused(representations(names), everywhere(names))
    assert {name for name in params if name.startswith("gate")} == {"gate_ua", "gate_uv", "gate_av"}
    shapes = jax.tree.map(lambda x: x.shape, params["gate_uv"])
    assert shapes == {"x": {"kernel": (8, 8)}, "y": {"kernel": (8, 8)}, "z": {"kernel": (16, 8)}}


def test_gates_and_attention_are_read_out_by_name():
    names = SUBSETS[-1]
    r_UxD, present_U = representations(names), everywhere(names)
    present_U["acoustic"] = np.array([1, 0, 1, 1, 1], bool)
    params, (_, sown) = fused(r_UxD, present_U, mutable=["intermediates"])
    sown = sown["intermediates"]
    (gate,) = sown["gate_uv"]["value"]
    kernel = np.asarray(params["gate_uv"]["z"]["kernel"], np.float64)
    expected = 1 / (1 + np.exp(-np.concatenate([r_UxD["utterance"], r_UxD["visual"]], axis=1) @ kernel))
    np.testing.assert_allclose(gate, expected, atol=TOLERANCE)
    for layer in range(LAYERS):
        (weights,) = sown["transformer"][f"layer_{layer}"]["attention"]["weights"]
        assert weights.shape == (UTTERANCES, HEADS, 7, 7)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=TOLERANCE)
        absent = [MGIF.positions(names).index(name) for name in ("au", "av")]
        np.testing.assert_array_equal(weights[1][:, :, absent], 0)
        assert np.delete(weights, 1, axis=0).min() > 0


@pytest.mark.parametrize("absent", ["utterance", "acoustic", "visual"])
def test_an_absent_modality_does_not_act_and_the_others_pass_whole(absent):
    names = SUBSETS[-1]
    r_UxD, present_U = representations(names), everywhere(names)
    present_U[absent] = np.array([1, 0, 1, 0, 1], bool)
    params, found = fused(r_UxD, present_U)
    other = dict(r_UxD)
    other[absent] = np.where(present_U[absent][:, None], r_UxD[absent], 1e3).astype(np.float32)
    _, again = fused(other, present_U, params)
    np.testing.assert_array_equal(found, again)
    _, complete = fused(r_UxD, everywhere(names), params)
    np.testing.assert_array_equal(found[::2], complete[::2])
    assert np.abs(found[1::2] - complete[1::2]).max() > 0.01
    for x, y in pairs(names):
        if absent in (x, y):
            _, (_, sown) = fused(r_UxD, present_U, params, mutable=["intermediates"])
            (gate,) = sown["intermediates"][f"gate_{x[0]}{y[0]}"]["value"]
            np.testing.assert_array_equal(gate[1], float(absent == y))


def test_a_turn_without_any_modality_is_left_with_e_cls():
    names = SUBSETS[0]
    r_UxD = representations(names)
    present_U = {name: np.array([0, 1, 0, 1, 1], bool) for name in names}
    params, found = fused(r_UxD, present_U)
    np.testing.assert_array_equal(found[0], found[2])
    m = np.asarray(params["e_cls"], np.float64)[None]
    for layer in range(LAYERS):
        p = jax.tree.map(lambda x: np.asarray(x, np.float64), params["transformer"][f"layer_{layer}"])
        m = transformer_layer(m, p)
    np.testing.assert_allclose(found[0], m[0], atol=TOLERANCE)


def test_one_turn_does_not_act_on_another():
    names = SUBSETS[-1]
    r_UxD = representations(names)
    params, found = fused(r_UxD, everywhere(names))
    for name in names:
        other = {**r_UxD, name: r_UxD[name].copy()}
        other[name][3] += 1
        _, changed = fused(other, everywhere(names), params)
        assert np.flatnonzero((changed != found).any(axis=1)).tolist() == [3]
