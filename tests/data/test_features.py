"""Standardisation with the training split's statistics, and their file."""

import dataclasses
import re

import numpy as np
import pytest

from dtrm_jax.data.features import Normalization, present_rows
from dtrm_jax.errors import InputError
from tests.factories import make_conversation, with_features

SIZES = {"acoustic": 5, "visual": 3}


def split(absent=()):
    random = np.random.default_rng(0)
    conversations = [make_conversation("AB" * half, ["x"] * 2 * half, [None] * 2 * half) for half in (3, 1, 4)]
    return [
        with_features(random, conversation, SIZES, [x[1:] for x in absent if x[0] == number])
        for number, conversation in enumerate(conversations)
    ]


def test_the_training_split_gets_mean_0_and_deviation_1():
    conversations = split(absent=[(0, 1, "visual"), (2, 5, "visual")])
    normalization = Normalization.fit(conversations, ("acoustic", "visual"))
    for name, turns in (("acoustic", 16), ("visual", 14)):
        applied = np.concatenate([normalization.apply(conversation)[name] for conversation in conversations])
        assert applied.dtype == np.float32
        assert present_rows(applied).sum() == turns
        there = applied[present_rows(applied)]
        np.testing.assert_allclose(there.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(there.std(axis=0), 1, atol=1e-5)
    assert np.isnan(normalization.apply(conversations[0])["visual"][1]).all()


def test_other_splits_are_measured_with_the_training_split():
    normalization = Normalization.fit(split(), ("acoustic",))
    (other,) = (with_features(np.random.default_rng(9), make_conversation("A", ["x"], [None]), SIZES) for _ in range(1))
    raw = np.concatenate([conversation.features["acoustic"] for conversation in split()]).astype(np.float64)
    expected = (other.features["acoustic"] - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(normalization.apply(other)["acoustic"], expected, rtol=1e-4)
    assert normalization.sizes == (("acoustic", 5),)


def test_a_constant_dimension_becomes_zeros():
    conversations = split()
    for conversation in conversations:
        conversation.features["acoustic"][:, 2] = 1234.5
    normalization = Normalization.fit(conversations, ("acoustic",))
    assert normalization.std["acoustic"][2] == 1
    np.testing.assert_array_equal(normalization.apply(conversations[0])["acoustic"][:, 2], 0)


def test_it_survives_its_file(tmp_path):
    normalization = Normalization.fit(split(), ("visual", "acoustic"))
    normalization.save(tmp_path / "n.npz")
    again = Normalization.load(tmp_path / "n.npz")
    assert again.sizes == normalization.sizes == (("visual", 3), ("acoustic", 5))
    for name in SIZES:
        np.testing.assert_array_equal(again.mean[name], normalization.mean[name])
        np.testing.assert_array_equal(again.std[name], normalization.std[name])
    Normalization({}, {}).save(tmp_path / "empty.npz")
    assert Normalization.load(tmp_path / "empty.npz").sizes == ()


def test_nothing_but_statistics_is_handed_to_numpy(tmp_path, monkeypatch):
    """NumPy before 2.1 stores every keyword of ``savez`` as an array."""
    handed, savez = [], np.savez
    monkeypatch.setattr(np, "savez", lambda path, **arrays: (handed.extend(arrays), savez(path, **arrays)))
    Normalization.fit(split(), ("acoustic",)).save(tmp_path / "n.npz")
    assert handed == ["acoustic/mean", "acoustic/std"]


def test_what_is_wrong_is_one_line(tmp_path):
    nowhere = split(absent=[(n, turn, "visual") for n, turns in enumerate((6, 2, 8)) for turn in range(turns)])
    with pytest.raises(InputError, match="visual features: expected turns that have them in the training split"):
        Normalization.fit(nowhere, ("visual",))
    normalization = Normalization.fit(split(), ("acoustic",))
    without = make_conversation("A", ["x"], [None], "c7")
    with pytest.raises(InputError, match="conversation c7: expected 5 acoustic features per turn, found none"):
        normalization.apply(without)
    with pytest.raises(InputError, match="expected 5 acoustic features per turn, found 4"):
        normalization.apply(with_features(np.random.default_rng(0), without, {"acoustic": 4}))
    for name, content in (("missing", None), ("damaged", b"PK\x03\x04junk"), ("text", b"hello")):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: (cannot be read: No such|expected a complete \.npz file)"):
            Normalization.load(tmp_path / name)


def test_a_feature_that_overflows_when_standardised_is_named():
    normalization = Normalization({"acoustic": np.float32([1, 0])}, {"acoustic": np.float32([1, 1e-6])})
    for value, found in ((3e38, "3e+38"), (1e12, "1e+12")):
        other = make_conversation("AB", ["x"] * 2, [None] * 2, "c7")
        features = {"acoustic": np.float32([[np.nan, np.nan], [2, value]])}
        other = dataclasses.replace(other, features=features)
        with pytest.raises(InputError, match=rf"c7, turn .*: acoustic feature 2 is {re.escape(found)}, too far from"):
            normalization.apply(other)
    close = dataclasses.replace(other, features={"acoustic": np.float32([[np.nan, np.nan], [2, 1e-3]])})
    np.testing.assert_allclose(normalization.apply(close)["acoustic"][1], [1, 1000], rtol=1e-6)
