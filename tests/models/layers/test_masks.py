"""The masks are the matrices drawn in their docstrings."""

import jax.numpy as jnp
import numpy as np

from dtrm_jax.models.layers.masks import context_dependent_mask, sequence_mask


def matrix(drawing):
    return np.array([[cell == "1" for cell in row.split()] for row in drawing.strip().splitlines()])


def drawn_in(function, lines):
    """Returns the 0/1 matrices in the function's docstring, each of so many lines."""
    rows = [row for row in function.__doc__.splitlines() if row.strip() and set(row.strip()) <= {"0", "1", " "}]
    assert len(rows) % lines == 0
    return [matrix("\n".join(rows[start : start + lines])) for start in range(0, len(rows), lines)]


def test_sequence_mask():
    expected = matrix("""
        1 1 0 0
        1 1 0 0
        0 0 1 0
        0 0 0 1
    """)
    found = sequence_mask(jnp.array([0, 0, 1, -1]))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(drawn_in(sequence_mask, 4), [expected])
    assert found.dtype == bool


def test_sequence_mask_of_several_rows_never_looks_into_another_row():
    ids = jnp.array([[0, 0, 1], [1, 2, -1]])
    found = sequence_mask(ids)
    assert found.shape == (2, 3, 3)
    for row, mask in zip(ids, found, strict=True):
        np.testing.assert_array_equal(mask, sequence_mask(row))


def test_unused_slots_see_each_other_and_nothing_else():
    np.testing.assert_array_equal(
        sequence_mask(jnp.array([-1, 0, -1])),
        matrix("""
        1 0 1
        0 1 0
        1 0 1
    """),
    )


def test_context_dependent_mask():
    expected = matrix("""
        1 0 0 0 0 0
        1 1 0 0 0 0
        1 1 1 0 0 0
        0 1 1 1 0 0
        0 0 0 0 1 0
        0 0 0 0 1 1
    """)
    conversation, turn = jnp.array([0, 0, 0, 0, 1, 1]), jnp.array([0, 1, 2, 3, 0, 1])
    drawn, with_future = drawn_in(context_dependent_mask, 6)
    np.testing.assert_array_equal(context_dependent_mask(conversation, turn, conversation, turn, 2), expected)
    np.testing.assert_array_equal(drawn, expected)
    expected |= matrix("""
        0 1 0 0 0 0
        0 0 1 0 0 0
        0 0 0 1 0 0
        0 0 0 0 0 0
        0 0 0 0 0 1
        0 0 0 0 0 0
    """)
    np.testing.assert_array_equal(context_dependent_mask(conversation, turn, conversation, turn, 2, 1), expected)
    np.testing.assert_array_equal(with_future, expected)


def test_rows_of_the_context_dependent_mask_are_queries():
    # Turns 3 and 4 as queries, turns 0 to 4 as keys.
    found = context_dependent_mask(jnp.zeros(2, int), jnp.array([3, 4]), jnp.zeros(5, int), jnp.arange(5), 2)
    np.testing.assert_array_equal(
        found,
        matrix("""
        0 1 1 1 0
        0 0 1 1 1
    """),
    )


def test_equation_3_of_the_paper():
    # i = 7, K = 5, L = 8: i - K - 1 zeros, K ones, the turn itself, L - i zeros.
    turns = jnp.arange(8)
    mask = context_dependent_mask(jnp.zeros(8, int), turns, jnp.zeros(8, int), turns, 5)
    assert mask[7 - 1].astype(int).tolist() == [0] * 1 + [1] * 5 + [1] + [0] * 1


def test_a_window_of_0_is_context_free():
    turns, conversation = jnp.array([0, 1, 2, 0, 1]), jnp.array([0, 0, 0, 1, 1])
    # The identity, eq. 6.
    np.testing.assert_array_equal(context_dependent_mask(conversation, turns, conversation, turns, 0), np.eye(5))
