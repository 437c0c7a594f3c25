"""Recurrence in lanes is recurrence over each conversation alone, whatever a pack holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.models.layers import recurrence_backward
from dtrm_jax.models.layers.lanes import in_lanes, last_state
from dtrm_jax.models.layers.recurrence import recur, recur_noting
from dtrm_jax.models.layers.steps import Past
from tests.golden import explicit

SLOTS, WIDTH, WINDOW = 23, 4, 3
# The turns of the conversations of a pack.
PACKS = {
    "uneven": (5, 1, 9, 2, 3, 1),
    "one that fills it": (23,),
    "all of one turn": (1,) * 23,
    "empty": (),
    "the longest last": (1, 1, 1, 2, 1, 12),
}


def conversation_of(turns):
    ids = np.repeat(np.arange(len(turns)), turns)
    return np.concatenate([ids, np.full(SLOTS - len(ids), -1)]).astype(np.int32)


def step(weights, state, x):
    """A recurrence with two arrays in its state, neither of which is the other."""
    a, b = state
    a = jnp.tanh(a @ weights + x + b[:, 0])
    return a, b * 0.5 + a[:, None]


def noting_step(weights, state, x, past):
    """The state also reads the latest notes, weighted by their age; a note is not the state."""
    seen = past.seen_NxK.astype(jnp.float32)
    newness = WINDOW + 1 - past.age_NxK
    read = jnp.einsum("nkd,nk,nk->nd", past.notes_NxKxD, seen, newness) + 0.1 * seen.sum(axis=1, keepdims=True)
    a, b = step(weights, state, x + read)
    return (a, b), a * 2 + x


INITIAL = (np.float32(0.3) * np.arange(WIDTH, dtype=np.float32), np.full((2, WIDTH), 0.1, np.float32))
WEIGHTS, X = explicit.array((WIDTH, WIDTH), 1), explicit.array((SLOTS, WIDTH), 2)


def alone(weights, x, initial, conversation_U):
    """The same recurrence turn by turn, with the states of each conversation in a list."""
    states, notes = [], []
    for slot in range(SLOTS):
        start = int(np.argmax(conversation_U == conversation_U[slot]))
        if conversation_U[slot] < 0:
            states.append(jax.tree.map(jnp.zeros_like, initial))
            notes.append(jnp.zeros(WIDTH))
            continue
        state = states[slot - 1] if slot > start else initial
        past = notes[max(start, slot - WINDOW) : slot]
        missing = WINDOW - len(past)
        rows = jnp.stack([jnp.zeros(WIDTH)] * missing + past)
        age = WINDOW - np.arange(WINDOW)
        batched = jax.tree.map(lambda a: a[None], (state, x[slot]))
        state, note = noting_step(weights, *batched, Past(rows[None], age[None], age[None] <= len(past)))
        states.append(jax.tree.map(lambda a: a[0], state))
        notes.append(note[0])
    return jax.tree.map(lambda *a: jnp.stack(a), *states), jnp.stack(notes)


def weighted(tree):
    return sum((leaf * np.cos(np.arange(leaf.size)).reshape(leaf.shape)).sum() for leaf in jax.tree.leaves(tree))


@functools.partial(jax.jit, static_argnames="lanes")
def states_and_notes(weights, x, initial, conversation_U, lanes):
    before = jnp.zeros((WINDOW, WIDTH))
    return recur_noting(noting_step, weights, x, in_lanes(conversation_U, lanes), initial, before)


@functools.partial(jax.jit, static_argnames="lanes")
def noted(weights, x, initial, conversation_U, lanes):
    def total(weights, x, initial):
        found = states_and_notes(weights, x, initial, conversation_U, lanes)
        return weighted(found), found

    return jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(weights, x, initial)


@functools.cache
def each_alone(name):
    """Returns states and notes of the conversations of a pack, each computed alone, and the gradients of their sum."""
    conversation_U = conversation_of(PACKS[name])
    expected, pull_back = jax.vjp(lambda *a: alone(*a, conversation_U), WEIGHTS, X, INITIAL)
    cotangents = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape), expected)
    return expected, pull_back(cotangents)


@pytest.mark.parametrize("lanes", [1, 4, 40])
@pytest.mark.parametrize("name", PACKS)
def test_states_notes_and_gradients_are_those_of_each_conversation_alone(name, lanes):
    expected, wanted = each_alone(name)
    (_, found), gradients = noted(WEIGHTS, X, INITIAL, conversation_of(PACKS[name]), lanes)
    without_gradients = states_and_notes(WEIGHTS, X, INITIAL, conversation_of(PACKS[name]), lanes)
    for result in (found, without_gradients):
        for one, other in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    scale = max(1.0, *(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted)))
    for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("blocks", [2, 5])
@pytest.mark.parametrize("name", PACKS)
def test_gradients_of_weights_in_blocks_are_those_of_all_turns_at_once(name, blocks, monkeypatch):
    places = SLOTS + 4
    monkeypatch.setattr(recurrence_backward, "_TOGETHER", -(-places * WINDOW * WIDTH // blocks))
    (_, wanted) = noted(WEIGHTS, X, INITIAL, conversation_of(PACKS[name]), 4)
    lanes = in_lanes(conversation_of(PACKS[name]), 4)

    def total(weights, x, initial):
        return weighted(recur_noting(noting_step, weights, x, lanes, initial, jnp.zeros((WINDOW, WIDTH))))

    found = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(WEIGHTS, X, INITIAL)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize("lanes", [1, 4, 40])
@pytest.mark.parametrize("name", PACKS)
def test_every_turn_is_computed_once_and_in_order(name, lanes):
    turns = PACKS[name]
    conversation_U = conversation_of(turns)
    laid = jax.jit(in_lanes, static_argnames="lanes")(conversation_U, lanes=lanes)
    slot_X, first_S, steps = np.asarray(laid.slot_X), np.asarray(laid.first_S), int(laid.steps)
    used = sum(turns)
    assert laid.count == min(lanes, SLOTS) and first_S[steps] == used
    assert (np.diff(first_S[: steps + 1]) > 0).all() and (np.diff(first_S[steps:]) == 0).all()
    assert sorted(slot_X[:used]) == list(range(used)) and (slot_X[used:] == SLOTS).all()
    np.testing.assert_array_equal(slot_X[laid.place_U[:used]], np.arange(used))
    step_X = np.repeat(np.arange(steps), np.diff(first_S[: steps + 1]))
    np.testing.assert_array_equal(laid.step_X[:used], step_X)
    where = {slot_X[place]: (step_X[place], place - first_S[step_X[place]]) for place in range(used)}
    for slot in range(1, used):
        if conversation_U[slot] == conversation_U[slot - 1]:
            (before, lane), (now, same) = where[slot - 1], where[slot]
            assert same == lane and now == before + 1
    assert steps <= used / min(lanes, SLOTS) + max(turns, default=0), "longer than it must be"
    expected = [place for length in turns for place in range(length)]
    np.testing.assert_array_equal(laid.position_U[:used], expected)


def test_the_longest_conversations_are_laid_first():
    # In their order, the last would follow two of the others.
    assert int(in_lanes(conversation_of((3, 3, 3, 3, 6)), 3).steps) == 6


def test_a_recurrence_without_notes():
    conversation_U = conversation_of(PACKS["uneven"])
    lanes = in_lanes(conversation_U, 4)
    found = jax.jit(lambda w, x: recur(step, w, x, lanes, INITIAL))(WEIGHTS, X)
    slot = 0
    for turns in PACKS["uneven"]:
        state = jax.tree.map(lambda a: a[None], INITIAL)
        for _ in range(turns):
            state = step(WEIGHTS, state, X[slot][None])
            for one, other in zip(found, state, strict=True):
                np.testing.assert_allclose(one[slot], other[0], rtol=0, atol=2e-6)
            slot += 1
    assert all((leaf[slot:] == 0).all() for leaf in found)


def test_a_conversation_that_goes_on_is_the_whole():
    """Its gradients go through the state and the notes that a pack hands on."""
    turns, first = 13, 8

    def whole(weights, x):
        lanes = in_lanes(conversation_of((turns,)), 4)
        found = recur_noting(noting_step, weights, x, lanes, INITIAL, jnp.zeros((WINDOW, WIDTH)))
        return weighted(jax.tree.map(lambda a: a[first:turns], found))

    def in_two(weights, x):
        lanes = in_lanes(conversation_of((first,)), 4)
        states, notes = recur_noting(noting_step, weights, x, lanes, INITIAL, jnp.zeros((WINDOW, WIDTH)))
        last = last_state(states, lanes, INITIAL)
        lanes = in_lanes(conversation_of((turns - first,)), 2, earlier=first)
        x = jnp.concatenate([x[first:], x[:first]])
        found = recur_noting(noting_step, weights, x, lanes, last, notes[first - WINDOW : first])
        return weighted(jax.tree.map(lambda a: a[: turns - first], found))

    (one, of_one), (other, of_other) = (jax.jit(jax.value_and_grad(f, (0, 1)))(WEIGHTS, X) for f in (whole, in_two))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    for a, b in zip(of_one, of_other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1.0, float(np.abs(a).max())))


@pytest.mark.parametrize("turns", [0, 7])
def test_the_last_state_is_that_of_the_last_turn(turns):
    lanes = in_lanes(conversation_of((turns,) if turns else ()), 4)
    states = recur(step, WEIGHTS, X, lanes, INITIAL)
    expected = INITIAL if not turns else jax.tree.map(lambda a: a[turns - 1], states)
    for one, other in zip(last_state(states, lanes, INITIAL), expected, strict=True):
        np.testing.assert_array_equal(one, other)
