"""The loss against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.tasks.losses import cross_entropy, squared_error

EQUAL = jnp.ones(3)
# Logits whose softmax is known: the probabilities themselves, up to a constant.
PROBABILITIES = np.array([[1 / 2, 1 / 4, 1 / 4], [1 / 8, 3 / 4, 1 / 8], [1 / 3, 1 / 3, 1 / 3], [0.9, 0.05, 0.05]])
LOGITS = jnp.asarray(np.log(PROBABILITIES) + np.array([[0.0], [5.0], [-7.0], [1.0]]), jnp.float32)


def loss(labels, weights, class_weights=EQUAL, smoothing=0.0, logits=LOGITS):
    total, count = cross_entropy(
        logits, jnp.asarray(labels, jnp.int32), jnp.asarray(weights, jnp.float32), jnp.asarray(class_weights), smoothing
    )
    assert total.shape == count.shape == ()
    return float(total), float(count)


def test_sum_and_count_by_hand():
    total, count = loss([0, 2, 1, 0], [1, 1, 1, 1])
    assert total == pytest.approx(np.log(2) + np.log(8) + np.log(3) - np.log(0.9), rel=1e-5)
    assert count == 4


def test_turns_that_do_not_count_add_nothing_whatever_their_label():
    expected = np.log(2) + np.log(3)
    for ignored in (-1, 0, 2):
        total, count = loss([0, ignored, 1, ignored], [1, 0, 1, 0])
        assert total == pytest.approx(expected, rel=1e-5)
        assert count == 2


def test_no_turn_that_counts():
    assert loss([-1] * 4, [0] * 4) == (0.0, 0.0)


def test_class_weights_scale_loss_and_count():
    total, count = loss([0, 2, 1, -1], [1, 1, 1, 0], class_weights=[2.0, 3.0, 5.0])
    assert total == pytest.approx(2 * np.log(2) + 5 * np.log(8) + 3 * np.log(3), rel=1e-5)
    assert count == 2 + 5 + 3


def test_label_smoothing_by_hand():
    # Smoothing 0.3 over 3 classes: target 0.8, 0.1, 0.1.
    total, count = loss([0, 1, -1, -1], [1, 1, 0, 0], smoothing=0.3)
    first = 0.8 * np.log(2) + 2 * 0.1 * np.log(4)
    second = 0.8 * np.log(4 / 3) + 2 * 0.1 * np.log(8)
    assert total == pytest.approx(first + second, rel=1e-5)
    assert count == 2


def test_class_weights_and_smoothing_together():
    total, count = loss([1, -1, -1, -1], [1, 0, 0, 0], class_weights=[7.0, 2.0, 11.0], smoothing=0.3)
    assert total == pytest.approx(2 * (0.8 * np.log(4) + 0.1 * np.log(2) + 0.1 * np.log(4)), rel=1e-5)
    assert count == 2


def test_uneven_masks_are_divided_once():
    # Losses 1, 1, 1, 1 in one part and 5 in the other: the mean is 9 / 5 = 1.8, the mean of means would be 3.
    def logits(value):  # with two classes, the loss of class 0 is ``value``
        return [0.0, float(np.log(np.expm1(value)))]

    parts = [(jnp.array([logits(1.0)] * 4), [1, 1, 1, 1]), (jnp.array([logits(5.0)] * 4), [1, 0, 0, 0])]
    sums = [loss([0] * 4, weights, jnp.ones(2), logits=part) for part, weights in parts]
    total, count = np.sum(sums, axis=0)
    assert total / count == pytest.approx(1.8, rel=1e-5)


def test_the_gradient_is_probability_minus_target_and_zero_where_nothing_counts():
    labels, weights, class_weights = (
        jnp.array([0, -1, 2, 1]),
        jnp.array([1.0, 0.0, 1.0, 0.0]),
        jnp.array([2.0, 1.0, 3.0]),
    )
    gradient = jax.grad(lambda logits: cross_entropy(logits, labels, weights, class_weights, 0.0)[0])(LOGITS)
    expected = np.zeros((4, 3))
    expected[0] = 2 * (PROBABILITIES[0] - [1, 0, 0])
    expected[2] = 3 * (PROBABILITIES[2] - [0, 0, 1])
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(gradient)[[1, 3]], 0.0)


def test_large_logits_stay_finite():
    total, _ = loss([0, 1, 2, 0], [1] * 4, logits=1e4 * LOGITS)
    assert np.isfinite(total)


def test_squared_error_by_hand_over_annotated_values_alone():
    outputs = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.5, -1.0]])
    values = jnp.array([[0.5, 99.0, 3.0], [2.0, 0.5, 99.0]])
    weights = jnp.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    total, count = squared_error(outputs, values, weights)
    assert total.shape == count.shape == ()
    assert float(total) == pytest.approx(0.25 + 0 + 4 + 0)
    assert float(count) == 4
    gradient = jax.grad(lambda x: squared_error(x, values, weights)[0])(outputs)
    np.testing.assert_allclose(gradient, [[1.0, 0, 0], [-4.0, 0, 0]], atol=1e-6)
