"""Standardisation with the training split's statistics, and their file."""

import dataclasses
import re

import numpy as np
import pytest

from dtrm_jax.data.features import Normalization, present_rows
from dtrm_jax.errors import InputError
from tests.factories import make_conversation, with_features

SIZES = {"acoustic": 5, "visual": 3}
BOUND = 10.0


def split(absent=()):
    random = np.random.default_rng(0)
    conversations = [make_conversation("AB" * half, ["x"] * 2 * half, [None] * 2 * half) for half in (3, 1, 4)]
    return [
        with_features(random, conversation, SIZES, [x[1:] for x in absent if x[0] == number])
        for number, conversation in enumerate(conversations)
    ]


def test_the_training_split_gets_mean_0_and_deviation_1():
    conversations = split(absent=[(0, 1, "visual"), (2, 5, "visual")])
    normalization = Normalization.fit(conversations, ("acoustic", "visual"), BOUND)
    for name, turns in (("acoustic", 16), ("visual", 14)):
        applied = np.concatenate([normalization.apply(conversation)[name] for conversation in conversations])
        assert applied.dtype == np.float32
        assert present_rows(applied).sum() == turns
        there = applied[present_rows(applied)]
        np.testing.assert_allclose(there.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(there.std(axis=0), 1, atol=1e-5)
    assert np.isnan(normalization.apply(conversations[0])["visual"][1]).all()


def test_other_splits_are_measured_with_the_training_split():
    normalization = Normalization.fit(split(), ("acoustic",), BOUND)
    (other,) = (with_features(np.random.default_rng(9), make_conversation("A", ["x"], [None]), SIZES) for _ in range(1))
    raw = np.concatenate([conversation.features["acoustic"] for conversation in split()]).astype(np.float64)
    expected = (other.features["acoustic"] - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(normalization.apply(other)["acoustic"], expected, rtol=1e-4)
    assert normalization.sizes == (("acoustic", 5),)


def test_a_constant_dimension_becomes_zeros():
    conversations = split()
    for conversation in conversations:
        conversation.features["acoustic"][:, 2] = 1234.5
    normalization = Normalization.fit(conversations, ("acoustic",), BOUND)
    assert normalization.std["acoustic"][2] == 1
    np.testing.assert_array_equal(normalization.apply(conversations[0])["acoustic"][:, 2], 0)


def test_it_survives_its_file(tmp_path):
    normalization = Normalization.fit(split(), ("visual", "acoustic"), BOUND)
    normalization.save(tmp_path / "n.npz")
    again = Normalization.load(tmp_path / "n.npz")
    assert again.sizes == normalization.sizes == (("visual", 3), ("acoustic", 5))
    for name in SIZES:
        np.testing.assert_array_equal(again.mean[name], normalization.mean[name])
        np.testing.assert_array_equal(again.std[name], normalization.std[name])
    assert again.bound == BOUND
    Normalization({}, {}, bound=0.0).save(tmp_path / "empty.npz")
    assert Normalization.load(tmp_path / "empty.npz").sizes == ()


def test_nothing_but_statistics_is_handed_to_numpy(tmp_path, monkeypatch):
    """NumPy before 2.1 stores every keyword of ``savez`` as an array."""
    handed, savez = [], np.savez
    monkeypatch.setattr(np, "savez", lambda path, **arrays: (handed.extend(arrays), savez(path, **arrays)))
    Normalization.fit(split(), ("acoustic",), BOUND).save(tmp_path / "n.npz")
    assert handed == ["acoustic/mean", "acoustic/std", "bound"]


def test_what_is_wrong_is_one_line(tmp_path):
    nowhere = split(absent=[(n, turn, "visual") for n, turns in enumerate((6, 2, 8)) for turn in range(turns)])
    with pytest.raises(InputError, match="visual features: expected turns that have them in the training split"):
        Normalization.fit(nowhere, ("visual",), BOUND)
    normalization = Normalization.fit(split(), ("acoustic",), BOUND)
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
    normalization = Normalization({"acoustic": np.float32([1, 0])}, {"acoustic": np.float32([1, 1e-6])}, bound=0.0)
    for value, found in ((3e38, "3e+38"), (1e12, "1e+12")):
        other = make_conversation("AB", ["x"] * 2, [None] * 2, "c7")
        features = {"acoustic": np.float32([[np.nan, np.nan], [2, value]])}
        other = dataclasses.replace(other, features=features)
        with pytest.raises(InputError, match=rf"c7, turn .*: acoustic feature 2 is {re.escape(found)}, too far from"):
            normalization.apply(other)
    close = dataclasses.replace(other, features={"acoustic": np.float32([[np.nan, np.nan], [2, 1e-3]])})
    np.testing.assert_allclose(normalization.apply(close)["acoustic"][1], [1, 1000], rtol=1e-6)


def columns(rows, seed=0):
    """Returns one conversation of features that real ones are like: even, skewed, mostly 0, and constant."""
    random = np.random.default_rng(seed)
    matrix = np.stack(
        [
            random.normal(40, 3, rows),
            random.lognormal(0, 0.5, rows),
            np.where(random.random(rows) < 0.04, random.uniform(1, 3, rows), 0),
            np.where(random.random(rows) < 0.03, 1.0, 0.0),
            np.full(rows, 7.0),
        ],
        axis=1,
    )
    plain = make_conversation("A" * rows, ["x"] * rows, [None] * rows)
    return dataclasses.replace(plain, features={"acoustic": matrix.astype(np.float32)})


@pytest.mark.parametrize("rows", [3, 96, 800])
def test_where_nothing_is_far_out_nothing_is_other_than_without_a_bound(rows):
    conversation = columns(rows)
    bounded, free = (Normalization.fit([conversation], ("acoustic",), bound) for bound in (BOUND, 0.0))
    for kind in ("mean", "std"):
        np.testing.assert_array_equal(getattr(bounded, kind)["acoustic"], getattr(free, kind)["acoustic"])
    np.testing.assert_array_equal(bounded.apply(conversation)["acoustic"], free.apply(conversation)["acoustic"])
    assert bounded.describe_far({"train": [conversation]}) == []


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("wrong", [1e8, -1e30, 3e38])
def test_a_wrongly_cut_clip_moves_nothing_else(column, wrong):
    conversation = columns(800)
    clean = Normalization.fit([conversation], ("acoustic",), BOUND)
    expected = clean.apply(conversation)["acoustic"]
    spoiled = dataclasses.replace(conversation, features={"acoustic": conversation.features["acoustic"].copy()})
    spoiled.features["acoustic"][[5, 300], column] = wrong
    normalization = Normalization.fit([spoiled], ("acoustic",), BOUND)
    found = normalization.apply(spoiled)["acoustic"]
    others = np.delete(np.arange(800), [5, 300])
    assert np.abs(found).max() <= BOUND and np.sign(found[5, column]) == np.sign(wrong)
    spread = np.ptp(expected[others], axis=0)
    assert (np.ptp(found[others], axis=0) >= 0.6 * spread).all(), "the others are as far apart as before, nearly"
    np.testing.assert_array_equal(np.delete(found[others], column, 1), np.delete(expected[others], column, 1))


def test_one_of_ninety_six_and_one_of_a_constant_column():
    conversation = columns(96)
    conversation.features["acoustic"][11, 0] = conversation.features["acoustic"][12, 4] = 1e8
    normalization = Normalization.fit([conversation], ("acoustic",), BOUND)
    found = normalization.apply(conversation)["acoustic"]
    assert np.abs(found).max() <= BOUND and found[np.arange(96) != 11, 0].std() > 0.5
    assert np.ptp(found[np.arange(96) != 12, 4]) == 0


def test_a_test_turn_beyond_the_bound_is_taken_as_that_far():
    normalization = Normalization.fit([columns(800)], ("acoustic",), BOUND)
    conversation = columns(3, seed=1)
    conversation.features["acoustic"][1] = [1e9, -1e9, 0, 0, 1e9]
    found = normalization.apply(conversation)["acoustic"]
    np.testing.assert_array_equal(found[1, [0, 1, 4]], [BOUND, -BOUND, BOUND])
    conversation.features["acoustic"][2] = np.nan
    assert np.isnan(normalization.apply(conversation)["acoustic"][2]).all()


def test_it_is_said_which_turns_lie_beyond_the_bound_and_how_many():
    train, dev = columns(800), dataclasses.replace(columns(30, seed=1), id="d")
    train.features["acoustic"][5, 0] = 1e8
    for turn, value in enumerate((200, 300, 400, 500), start=20):
        dev.features["acoustic"][turn, 1] = value
    dev.features["acoustic"][7] = np.nan
    normalization = Normalization.fit([train], ("acoustic",), BOUND)
    (line,) = normalization.describe_far({"train": [train], "dev": [dev], "test": []})
    assert line.startswith(
        "acoustic features beyond 10 standard deviations (config.data.feature_bound) are taken as that far: 1 of 800 "
        "turns of train, 4 of 29 turns of dev; the farthest: turn 5 of conversation c in train (feature 1 is 1e+08, "
    )
    assert line.endswith(" deviations)") and "turn 23 of conversation d in dev (feature 2 is 500, " in line
    assert "turn 22 " in line and "turn 21 " not in line, "the three that lie farthest"
    assert Normalization.fit([train], ("acoustic",), 0.0).describe_far({"train": [train]}) == []


def test_a_damaged_bound_is_refused(tmp_path):
    Normalization.fit(split(), ("acoustic",), BOUND).save(tmp_path / "n.npz")
    arrays = dict(np.load(tmp_path / "n.npz"))
    for bad in (np.float32([-1]), np.float32([np.inf]), np.float32([np.nan]), np.float32([1, 2]), np.float64([1])):
        np.savez(tmp_path / "n.npz", **(arrays | {"bound": bad}))
        with pytest.raises(InputError, match=r"n\.npz: "):
            Normalization.load(tmp_path / "n.npz")
    del arrays["bound"]  # as older versions wrote it
    np.savez(tmp_path / "n.npz", **arrays)
    assert Normalization.load(tmp_path / "n.npz").bound == 0.0
