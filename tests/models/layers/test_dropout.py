"""Dropout's hash: right rate, right scale, no pattern that a binomial test can see."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers.dropout import Dropout, dropout, keep_mask

RATES = [0.05, 0.1, 0.37, 0.5, 0.9]
SIGMAS = 5.0  # a fair coin is beyond this once in two million tests; the keys are fixed, so a test that passes stays so


def assert_share(events, probability):
    """Checks a share of True against the binomial distribution."""
    events = np.asarray(events)
    deviation = np.sqrt(probability * (1 - probability) / events.size)
    assert abs(events.mean() - probability) < SIGMAS * deviation


def masks(rate, keys, shape):
    draw = jax.jit(jax.vmap(lambda key: keep_mask(key, rate, shape)))
    return np.asarray(draw(jax.random.split(jax.random.key(0), keys)))


@pytest.mark.parametrize("rate", RATES)
def test_rate(rate):
    assert_share(~masks(rate, 7, (101, 211)), rate)


@pytest.mark.parametrize("rate", RATES)
def test_every_position_is_dropped_at_the_rate(rate):
    # Over keys, for each position: no position is luckier than the extreme of so many draws may be.
    keys = 400
    sample = jax.vmap(lambda key: keep_mask(key, rate, (13, 17)))(jax.random.split(jax.random.key(0), keys))
    shares = (~np.asarray(sample)).mean(axis=0)
    assert np.abs(shares - rate).max() < SIGMAS * np.sqrt(rate * (1 - rate) / keys)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shift", [(0, 1), (0, 2), (0, 4), (0, 128), (1, 0), (2, 0), (1, 1), (64, 0), (1, -1)])
def test_neighbours_in_a_mask_are_independent(rate, shift):
    mask = masks(rate, 5, (127, 257))
    rows, columns = shift
    pairs = mask & np.roll(mask, shift, axis=(1, 2))
    valid = pairs[:, rows:, max(columns, 0) : columns if columns < 0 else None]
    assert_share(valid, (1 - rate) ** 2)


@pytest.mark.parametrize("rate", RATES)
def test_masks_of_different_keys_are_independent(rate):
    # As a model's sites and steps get them; keys that are not hashed, such as key(0) and key(1), are not that good.
    base = jax.random.key(3)
    keys = [*jax.random.split(base, 4), *(jax.random.fold_in(base, n) for n in range(7, 14))]
    draw = jax.jit(lambda key: keep_mask(key, rate, (149, 151)))
    sample = [np.asarray(draw(key)) for key in keys]
    for index, first in enumerate(sample):
        for second in sample[:index]:
            assert_share(first & second, (1 - rate) ** 2)


def test_both_words_of_a_key_matter():
    key = np.array(jax.random.key_data(jax.random.fold_in(jax.random.key(3), 1)))
    sample = []
    for change in ((0, 0), (2**31, 0), (0, 2**31), (12345, 0), (0, 12345)):
        words = jnp.asarray(key ^ np.array(change, np.uint32))
        sample.append(np.asarray(keep_mask(jax.random.wrap_key_data(words), 0.3, (97, 101))))
    for index, first in enumerate(sample):
        for second in sample[:index]:
            assert (first != second).mean() > 0.2


def test_a_mask_follows_from_the_key_alone():
    key = jax.random.key(5)
    eager = keep_mask(key, 0.3, (11, 13))
    np.testing.assert_array_equal(eager, keep_mask(key, 0.3, (11, 13)))
    np.testing.assert_array_equal(eager, jax.jit(keep_mask, static_argnums=(1, 2))(key, 0.3, (11, 13)))
    np.testing.assert_array_equal(eager.reshape(-1), keep_mask(key, 0.3, (143,)))


def test_kept_values_are_scaled_and_the_others_zero():
    x = jnp.linspace(1.0, 2.0, 997)
    keep = np.asarray(keep_mask(jax.random.key(1), 0.25, x.shape))
    assert 0.2 < 1 - keep.mean() < 0.3
    np.testing.assert_allclose(dropout(x, jax.random.key(1), 0.25), np.where(keep, x / 0.75, 0.0), rtol=1e-6)


def test_the_mean_is_kept():
    means = [float(dropout(jnp.ones((211, 101)), jax.random.key(key), 0.2).mean()) for key in range(5)]
    assert abs(np.mean(means) - 1) < SIGMAS * np.sqrt(0.2 / 0.8 / (5 * 211 * 101))


def test_the_gradient_is_the_mask():
    x = jax.random.normal(jax.random.key(0), (31, 37))
    gradient = jax.grad(lambda x: dropout(x, jax.random.key(2), 0.4).sum())(x)
    keep = np.asarray(keep_mask(jax.random.key(2), 0.4, x.shape))
    np.testing.assert_allclose(gradient, keep / np.float32(0.6), rtol=1e-6)
    assert (np.asarray(gradient)[~keep] == 0).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_dtype_stays(dtype):
    assert dropout(jnp.ones(7, dtype), jax.random.key(0), 0.1).dtype == dtype


def test_an_array_beyond_the_counter_is_refused():
    with pytest.raises(ValueError, match="fewer than 2\\*\\*32 elements"):
        jax.eval_shape(lambda: keep_mask(jax.random.key(0), 0.1, (2**16, 2**16)))


class TwoSites(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x, deterministic):
        first, second = Dropout(self.rate), Dropout(self.rate)
        return first(x, deterministic), second(x, deterministic), second(x, deterministic)


def test_sites_calls_and_keys_differ():
    x = jnp.ones((61, 67))
    outputs = [
        np.asarray(y)
        for key in (0, 1)
        for y in TwoSites(0.5).apply({}, x, False, rngs={"dropout": jax.random.key(key)})
    ]
    for index, first in enumerate(outputs):
        for second in outputs[:index]:
            assert_share((first > 0) & (second > 0), 0.25)


def test_without_work_the_module_takes_no_key():
    x = jnp.arange(5.0)
    for rate, deterministic in ((0.0, False), (0.5, True), (0.0, True)):
        for y in TwoSites(rate).apply({}, x, deterministic):
            np.testing.assert_array_equal(y, x)


def test_a_rate_of_0_keeps_all():
    assert np.asarray(keep_mask(jax.random.key(0), 0.0, (97, 101))).all()
    np.testing.assert_array_equal(dropout(jnp.arange(7.0), jax.random.key(0), 0.0), jnp.arange(7.0))
