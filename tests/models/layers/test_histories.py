"""A recurrence over histories is the same recurrence turn by turn, with gradients and without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers.histories import over_history
from tests.golden import explicit

WINDOW, TURNS, WIDTH = 5, 4, 3
WEIGHTS, X = explicit.array((WIDTH, WIDTH), 1), explicit.array((WINDOW, TURNS, WIDTH), 2)
TAKEN = np.array([[1, 1, 1, 0, 1], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 1]], bool).T


def step(weights, state, x):
    return jnp.tanh(state @ weights + x)


def one_by_one(weights, x, backward):
    rows = range(WINDOW)
    states = {}
    for turn in range(TURNS):
        state = jnp.zeros(WIDTH)
        for row in reversed(rows) if backward else rows:
            state = step(weights, state, x[row, turn]) if TAKEN[row, turn] else state
            states[row, turn] = state
    return jnp.stack([jnp.stack([states[row, turn] for turn in range(TURNS)]) for row in rows])


@pytest.mark.parametrize("backward", [False, True])
def test_states_and_gradients_are_those_of_each_history_alone(backward):
    given = np.cos(np.arange(X.size, dtype=np.float32)).reshape(X.shape)
    expected, pull_back = jax.vjp(lambda *a: one_by_one(*a, backward), WEIGHTS, X)

    def found(weights, x):
        return over_history(step, weights, x, jnp.asarray(TAKEN), WIDTH, backward=backward)

    states, found_pull_back = jax.vjp(found, WEIGHTS, X)
    for result in (jax.jit(found)(WEIGHTS, X), states):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    for one, other in zip(found_pull_back(given), pull_back(given), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
