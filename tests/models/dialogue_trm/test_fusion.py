"""The simple fusions, GMU and MGIF's ablations against plain NumPy in float64, and what holds of every fusion."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import validate
from tests.factories import tiny_config
from tests.fusions import (
    FEED_FORWARD,
    HEADS,
    KINDS,
    LAYERS,
    SUBSETS,
    TRIPLE,
    WIDTH,
    built,
    count,
    everywhere,
    fusion,
    representations,
    side_by_side,
)

UTTERANCES = 5
TOLERANCE = 1e-5
PRESENT = {
    "utterance": np.array([1, 1, 1, 0, 0], bool),
    "acoustic": np.array([1, 0, 1, 1, 0], bool),
    "visual": np.array([1, 1, 0, 0, 0], bool),
}


def fused(kind, names, present_U=PRESENT):
    """The inputs, the parameters and the output, with what is absent in ``PRESENT``."""
    r_UxD, present_U = representations(names, UTTERANCES), {name: present_U[name] for name in names}
    params, apply = built(kind, r_UxD, present_U)
    return r_UxD, jax.tree.map(lambda x: np.asarray(x, np.float64), params), apply(params, r_UxD, present_U)


def there(i, names):
    return [name for name in names if PRESENT[name][i]]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
def test_additive(names):
    r, _, found = fused("additive", names)
    expected = [sum((r[n][i] for n in there(i, names)), np.zeros(WIDTH)) for i in range(UTTERANCES)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
def test_max_pooling(names):
    r, _, found = fused("max", names)
    for i in range(UTTERANCES):
        values = [r[n][i] for n in there(i, names)]
        np.testing.assert_array_equal(found[i], np.max(values, axis=0) if values else np.zeros(WIDTH))


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
def test_concat(names):
    r, params, found = fused("concat", names)
    weights, bias = params["project"]["kernel"], params["project"]["bias"]
    assert weights.shape == (len(names) * WIDTH, WIDTH)
    for i in range(UTTERANCES):
        x = np.concatenate([r[n][i] * PRESENT[n][i] for n in names])
        np.testing.assert_allclose(found[i], x @ weights + bias, atol=TOLERANCE)


@pytest.mark.parametrize("names", SUBSETS[:3], ids="+".join)
def test_gmu_of_two(names):
    """One gate; a modality whose counterpart is absent passes whole."""
    r, params, found = fused("gmu", names)
    assert count(params) == 4 * WIDTH**2
    gate, (x, y) = params["gate"], names
    for i in range(UTTERANCES):
        h = {x: np.tanh(r[x][i] @ gate["x"]["kernel"]), y: np.tanh(r[y][i] @ gate["y"]["kernel"])}
        z = sigmoid(np.concatenate([r[x][i], r[y][i]]) @ gate["z"]["kernel"])
        alone = sum((h[n] for n in there(i, names)), np.zeros(WIDTH))
        expected = z * h[x] + (1 - z) * h[y] if len(there(i, names)) == 2 else alone
        np.testing.assert_allclose(found[i], expected, atol=TOLERANCE)


def test_gmu_of_three():
    r, params, found = fused("gmu", TRIPLE)
    assert count(params) == 3 * WIDTH**2 + 3 * 3 * WIDTH**2
    for i in range(UTTERANCES):
        everything = np.concatenate([r[n][i] * PRESENT[n][i] for n in TRIPLE])
        expected = np.zeros(WIDTH)
        for name in there(i, TRIPLE):
            z = sigmoid(everything @ params[f"z_{name[0]}"]["kernel"])
            expected += z * np.tanh(r[name][i] @ params[f"h_{name[0]}"]["kernel"])
        np.testing.assert_allclose(found[i], expected, atol=TOLERANCE)


def test_gates_of_gmu_are_read_out_by_name():
    module = fusion("gmu")
    r, params, _ = fused("gmu", TRIPLE)
    given = (r, everywhere(TRIPLE, UTTERANCES), side_by_side([UTTERANCES]), True)
    _, sown = module.apply({"params": params}, *given, mutable=["intermediates"])
    everything = np.concatenate([r[name] for name in TRIPLE], axis=1)
    for letter in "uav":
        (value,) = sown["intermediates"][f"value_{letter}"]
        np.testing.assert_allclose(value, sigmoid(everything @ params[f"z_{letter}"]["kernel"]), atol=TOLERANCE)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_mgif_without_representation_dependency(names):
    """The gated vectors side by side, projected; no Transformer."""
    r, params, found = fused("mgif_without_representation", names)
    pairs = list(itertools.combinations(names, 2))
    assert count(params) == len(pairs) * 4 * WIDTH**2 + 2 * len(pairs) * WIDTH**2 + WIDTH
    for i in range(UTTERANCES):
        parts = []
        for x, y in pairs:
            gate = params[f"gate_{x[0]}{y[0]}"]
            z = sigmoid(np.concatenate([r[x][i], r[y][i]]) @ gate["z"]["kernel"])
            z = np.where(PRESENT[x][i], z if PRESENT[y][i] else 1, 0)
            parts.append(z * np.tanh(r[x][i] @ gate["x"]["kernel"]) * PRESENT[x][i])
            parts.append((1 - z) * np.tanh(r[y][i] @ gate["y"]["kernel"]) * PRESENT[y][i])
        expected = np.concatenate(parts) @ params["project"]["kernel"] + params["project"]["bias"]
        np.testing.assert_allclose(found[i], expected, atol=TOLERANCE)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_mgif_without_prototype_dependency(names):
    """e_CLS and the representations themselves through the Transformer; no gates."""
    r, params, found = fused("mgif_without_prototype", names)
    layer = 4 * (WIDTH**2 + WIDTH) + 2 * WIDTH * FEED_FORWARD + FEED_FORWARD + WIDTH + 2 * 2 * WIDTH
    assert count(params) == WIDTH + LAYERS * layer and set(params) == {"e_cls", "transformer"}
    for i in range(UTTERANCES):
        m = np.stack([params["e_cls"], *(r[name][i] for name in there(i, names))])
        for index in range(LAYERS):
            m = transformer_layer(m, params["transformer"][f"layer_{index}"])
        np.testing.assert_allclose(found[i], m[0], atol=TOLERANCE)


def transformer_layer(m, p):
    """Post-norm, ReLU; every position sees every other."""
    q, k, v = (m @ p["attention"][n]["kernel"] + p["attention"][n]["bias"] for n in ("query", "key", "value"))
    heads = []
    for q_h, k_h, v_h in zip(*(np.split(x, HEADS, axis=1) for x in (q, k, v)), strict=True):
        weights = np.exp(q_h @ k_h.T / np.sqrt(WIDTH / HEADS))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ v_h)
    out = p["attention"]["out"]
    m = layer_norm(m + np.concatenate(heads, axis=1) @ out["kernel"] + out["bias"], p["norm1"])
    hidden = np.maximum(m @ p["linear1"]["kernel"] + p["linear1"]["bias"], 0)
    return layer_norm(m + hidden @ p["linear2"]["kernel"] + p["linear2"]["bias"], p["norm2"])


def layer_norm(x, p):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_absent_does_not_act(kind, names):
    """Another value of it changes nothing; its presence changes that turn (and, in MulT, later ones)."""
    r_UxD, present_U = representations(names, UTTERANCES), {name: PRESENT[name] for name in names}
    params, apply = built(kind, r_UxD, present_U, layers=1)
    found = apply(params, r_UxD, present_U)
    other = {name: np.where(present_U[name][:, None], x, np.float32(1e3)) for name, x in r_UxD.items()}
    np.testing.assert_array_equal(apply(params, other, present_U), found)
    complete = apply(params, r_UxD, everywhere(names, UTTERANCES))
    assert (np.abs(complete - found)[[1, 3, 4]].max(axis=1) > 1e-3).all()
    np.testing.assert_array_equal(complete[0], found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_without_any_modality_is_finite_and_constant(kind):
    names, present_U = TRIPLE, {**PRESENT, "utterance": np.array([0, 1, 1, 0, 0], bool)}
    present_U = {name: present_U[name] & (np.arange(UTTERANCES) > 0) for name in names}
    r_UxD = representations(names, UTTERANCES)
    params, apply = built(kind, r_UxD, present_U, layers=1)
    found = apply(params, r_UxD, present_U)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[4])
    gradient = jax.jit(jax.grad(lambda *given: (apply(*given, present_U) ** 2).sum(), argnums=(0, 1)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(params, r_UxD)))


def test_every_kind_is_a_choice_of_the_config():
    for kind in KINDS:
        validate(tiny_config(model__fusion__kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_output_has_the_type_of_the_activations(kind):
    r_UxD = {name: jnp.zeros((UTTERANCES, WIDTH), jnp.bfloat16) for name in TRIPLE}
    module = fusion(kind, jnp.bfloat16)
    given = (r_UxD, PRESENT, side_by_side([UTTERANCES]), True)
    output, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *given))
    assert (output.shape, output.dtype) == ((UTTERANCES, WIDTH), jnp.bfloat16)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables.get("params", {})))


def test_an_unknown_fusion_is_a_key_error():
    with pytest.raises(KeyError, match="other"):
        fused("other", TRIPLE)
