"""Compact bilinear pooling against plain NumPy: the sketch of the outer product, and hashes that are constants."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.fusions.bilinear import convolve, count_sketch, hashes, normalise
from dtrm_jax.settings import from_dict
from tests.fusions import CONFIG, SKETCH, SUBSETS, TRIPLE, WIDTH, built, count, everywhere, representations

UTTERANCES = 5
TOLERANCE = 1e-5
PRESENT = {
    "utterance": np.array([1, 1, 1, 0, 0], bool),
    "acoustic": np.array([1, 0, 1, 1, 0], bool),
    "visual": np.array([1, 1, 0, 0, 0], bool),
}


def fused(names, present_U=PRESENT, **changes):
    """The inputs, the parameters and the output."""
    r_UxD, present_U = representations(names, UTTERANCES), {name: present_U[name] for name in names}
    params, apply = built("bilinear", r_UxD, present_U, **changes)
    return r_UxD, params, np.asarray(apply(params, r_UxD, present_U))


def sketch_of_outer_product(vectors, names, seed):
    """The count sketch of the outer product of the vectors, entry by entry: buckets add, signs multiply."""
    hashed = [hashes(seed, name, WIDTH, SKETCH) for name in names]
    result = np.zeros(SKETCH)
    for index in np.ndindex(*[WIDTH] * len(names)):
        bucket = sum(int(h[i]) for (h, _), i in zip(hashed, index, strict=True)) % SKETCH
        sign = math.prod(float(s[i]) for (_, s), i in zip(hashed, index, strict=True))
        result[bucket] += sign * math.prod(float(x[i]) for x, i in zip(vectors, index, strict=True))
    return result


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_equals_the_sketch_of_the_outer_product(names):
    """Of what is there, with signed square root and length 1; a turn without anything is left with the bias."""
    r, params, found = fused(names)
    weights, bias = (np.asarray(params["project"][n], np.float64) for n in ("kernel", "bias"))
    for i in range(UTTERANCES):
        there = [name for name in names if PRESENT[name][i]]
        if not there:
            np.testing.assert_array_equal(found[i], params["project"]["bias"])
            continue
        x = sketch_of_outer_product([r[name][i] for name in there], there, CONFIG.seed)
        y = x / np.sqrt(np.abs(x) + 1e-4)
        np.testing.assert_allclose(found[i], y / np.linalg.norm(y) @ weights + bias, atol=TOLERANCE)


def test_convolution_of_sketches_is_the_sketch_of_the_outer_product():
    r_UxD = representations(TRIPLE, UTTERANCES)
    sketches = {n: count_sketch(r_UxD[n], *hashes(3, n, WIDTH, SKETCH), SKETCH) for n in TRIPLE}
    for names in SUBSETS:
        found = convolve({n: sketches[n] for n in names}, everywhere(names, UTTERANCES))
        expected = [sketch_of_outer_product([r_UxD[n][i] for n in names], names, 3) for i in range(UTTERANCES)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_signed_root_and_length():
    x = np.array([[9.0, -16, 0, 0.25], [-4.0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    expected = [[3 / 25.25**0.5, -4 / 25.25**0.5, 0, 0.5 / 25.25**0.5], [-1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(normalise(x), expected, atol=1e-4)


def test_inner_products_are_kept_on_average():
    """<sketch(x y), sketch(x' y')> is <x, x'> <y, y'> in expectation, which takes hashes that are independent."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(2, 2, WIDTH)) + 1
    found = []
    for seed in range(2000):
        spectra = 1
        for name, vectors in (("acoustic", x), ("visual", y)):
            bucket, sign = hashes(seed, name, WIDTH, 31)
            sketch = np.zeros((2, 31))
            np.add.at(sketch, (slice(None), bucket), sign * vectors)
            spectra = spectra * np.fft.fft(sketch)
        first, second = np.fft.ifft(spectra).real
        found.append(first @ second)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - (x[0] @ x[1]) * (y[0] @ y[1])) < 4 * error
    assert error < 0.05 * abs(np.mean(found))


def test_hashes_are_constants_of_the_seed():
    bucket, sign = hashes(0, "utterance", 8, 1024)
    # Another stream would make every saved model another model.
    assert bucket.tolist() == [607, 801, 184, 29, 315, 78, 639, 581] and sign.tolist() == [1, 1, 1, -1, 1, -1, 1, -1]
    bucket, sign = hashes(7, "visual", 300, SKETCH)
    assert set(bucket.tolist()) == set(range(SKETCH)) and set(sign.tolist()) == {-1, 1}
    again = hashes(7, "visual", 300, SKETCH)
    np.testing.assert_array_equal((bucket, sign), again)
    for other in (hashes(8, "visual", 300, SKETCH), hashes(7, "acoustic", 300, SKETCH)):
        assert 0.8 < (other[0] != bucket).mean() and 0.4 < (other[1] != sign).mean() < 0.6


@pytest.mark.parametrize("names", [TRIPLE, TRIPLE[:2]], ids="+".join)
def test_hashes_are_no_parameters(names):
    """What is trained, decayed and saved is the projection; the saved config brings the hashes back."""
    r_UxD, params, found = fused(names)
    assert count(params) == SKETCH * WIDTH + WIDTH and set(params) == {"project"}
    saved = json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(CONFIG, kind="bilinear"))))
    restored = from_dict(saved, FusionConfig)
    present_U = {name: PRESENT[name] for name in names}
    _, apply = built(restored.kind, r_UxD, present_U, sketch=restored.sketch, seed=restored.seed)
    np.testing.assert_array_equal(apply(params, r_UxD, present_U), found)


def test_seed_and_size_are_settings():
    r_UxD, params, found = fused(TRIPLE)
    _, same, other = fused(TRIPLE, seed=CONFIG.seed + 1)
    assert jax.tree.map(np.shape, same) == jax.tree.map(np.shape, params)
    assert np.abs(other - found)[0].max() > 1e-2
    assert fused(TRIPLE, sketch=29)[1]["project"]["kernel"].shape == (29, WIDTH)
