"""The simple fusions against plain NumPy, with modalities that turns lack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.fusion import build_fusion
from tests.factories import random_params_like

UTTERANCES, WIDTH = 5, 8
NAMES = ("utterance", "acoustic", "visual")
PRESENT = {
    "utterance": np.array([1, 1, 1, 0, 0], bool),
    "acoustic": np.array([1, 0, 1, 1, 0], bool),
    "visual": np.array([1, 1, 0, 0, 0], bool),
}


def fused(kind, names, present_U):
    """The inputs, the parameters and the output."""
    random = np.random.default_rng(0)
    r_UxD = {name: random.normal(size=(UTTERANCES, WIDTH)).astype(np.float32) - 1 for name in names}
    module = build_fusion(FusionConfig(kind=kind, heads=2), jnp.float32, False, "fusion")
    present_U = {name: present_U[name] for name in names}
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), r_UxD, present_U, True).get("params", {}))
    params = random_params_like(shapes)
    return r_UxD, params, np.asarray(module.apply({"params": params}, r_UxD, present_U, True))


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]], ids="+".join)
def test_additive(names):
    r, _, found = fused("additive", names, PRESENT)
    expected = [sum((r[n][i] for n in names if PRESENT[n][i]), np.zeros(WIDTH)) for i in range(UTTERANCES)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]], ids="+".join)
def test_max_pooling(names):
    r, _, found = fused("max", names, PRESENT)
    for i in range(UTTERANCES):
        there = [r[n][i] for n in names if PRESENT[n][i]]
        np.testing.assert_array_equal(found[i], np.max(there, axis=0) if there else np.zeros(WIDTH))


@pytest.mark.parametrize("names", [NAMES, NAMES[:2]], ids="+".join)
def test_concat(names):
    r, params, found = fused("concat", names, PRESENT)
    weights, bias = params["project"]["kernel"], params["project"]["bias"]
    assert weights.shape == (len(names) * WIDTH, WIDTH)
    for i in range(UTTERANCES):
        x = np.concatenate([r[n][i] * PRESENT[n][i] for n in names])
        np.testing.assert_allclose(found[i], x @ weights + bias, atol=1e-5)


def test_an_unknown_fusion_is_a_key_error():
    with pytest.raises(KeyError, match="other"):
        fused("other", NAMES, PRESENT)
