"""Recurrence over the turns of a pack without padding: conversations end to end in a few lanes.

A recurrence takes one step per turn, and steps of different conversations can be computed together. The conversations
of a pack are therefore laid into lanes (``in_lanes``), each into the lane that is shortest so far. One step of the loop
(``recur``) then takes the next turn of every lane, and begins from the initial state where a conversation begins. There
are as many steps as the fullest lane has turns: at most the turns divided by the lanes and one conversation more,
whatever the pack holds.

The number of steps depends on the pack, and not only on its shape, so that ``lax.scan`` would have to run as many steps
as a pack has slots. Here it is a ``lax.while_loop`` with a backward pass of its own. That keeps one state per turn and
nothing per step: what a step computed is computed again. The loop backwards yields the gradients of the states alone.
Those of the weights and the inputs follow from them afterwards, of many turns in one product.

To go through conversations from their end, flip the axis of utterances, also that of the result.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array

_BLOCK = 64  # turns whose windows of the past are in memory together, in the backward pass


class Lanes(NamedTuple):
    """Where the turns of a pack are computed.

    Attributes:
        slots_SxG: The slot whose turn each lane (G) computes at each step; U where the lane has none. S is U, the steps
            that a single conversation needs that fills the pack.
        steps: The steps that have any turn; those after them are not computed.
        previous_U: The slot of the turn whose state a turn goes on from; -1 for the initial state. ``in_lanes`` names
            the turn before it. Any slot is admitted that the turn's lane computes earlier.
        position_U: How many turns of its conversation come before a turn.
        used_U: Which slots hold a turn.
    """

    slots_SxG: Int[Array, "S G"]
    steps: Int[Array, ""]
    previous_U: Int[Array, " U"]
    position_U: Int[Array, " U"]
    used_U: Bool[Array, " U"]


class Past(NamedTuple):
    """What turns before have noted, for N turns.

    Attributes:
        notes_NxKxD: Of the K turns before each, the one before it last; zeros where there is none.
        seen_NxK: Whether there is such a turn in the conversation.
    """

    notes_NxKxD: Float[Array, "N K D"]
    seen_NxK: Bool[Array, "N K"]


# (weights, state, x) -> state. Every array of state and x has a leading axis of turns, which are computed independently
# of each other, as many at once as there are; the weights have none. It must not close over traced arrays.
Step = Callable[[Any, Any, Any], Any]
# (weights, state, x, past) -> (state, note). A note is one vector per turn.
NotingStep = Callable[[Any, Any, Any, Past], tuple[Any, Array]]


def enough(slots: int) -> int:
    """Returns how many lanes a pack is worth.

    Fewer than four leave a CPU's matrix products too thin; more than one for 128 turns mostly lie idle where
    conversations are long (``benchmarks/recurrent.py``).
    """
    return min(max(slots // 128, 4), 16)


def in_lanes(conversation_U: Int[Array, " U"], lanes: int, *, earlier: Int[Array, ""] | int = 0) -> Lanes:
    """Lays the conversations of a pack into lanes.

    Args:
        conversation_U: Conversation ids, -1 in unused slots. The turns of a conversation lie side by side.
        lanes: G, as many as there are slots at most.
        earlier: How many turns of the conversation earlier packs had, for a pack that goes on.
    """
    slots = conversation_U.shape[0]
    lanes = min(lanes, slots)
    slot_U = jnp.arange(slots, dtype=jnp.int32)
    used_U = conversation_U != -1
    begins_U = used_U & jnp.concatenate([jnp.ones(1, bool), conversation_U[1:] != conversation_U[:-1]])
    position_U = slot_U - jax.lax.cummax(jnp.where(begins_U, slot_U, 0))
    number_U = jnp.maximum(jnp.cumsum(begins_U, dtype=jnp.int32) - 1, 0)
    # Of every conversation, by its number in the pack; there are at most as many as slots.
    turns_J = jax.ops.segment_sum(used_U.astype(jnp.int32), number_U, slots)

    def place(number: Array, placed: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        load_G, lane_J, first_J = placed
        lane = jnp.argmin(load_G).astype(jnp.int32)
        first_J, lane_J = first_J.at[number].set(load_G[lane]), lane_J.at[number].set(lane)
        return load_G.at[lane].add(turns_J[number]), lane_J, first_J

    nowhere = (jnp.zeros(lanes, jnp.int32), jnp.zeros(slots, jnp.int32), jnp.zeros(slots, jnp.int32))
    load_G, lane_J, first_J = jax.lax.fori_loop(0, begins_U.sum(), place, nowhere)
    step_U = jnp.where(used_U, first_J[number_U] + position_U, slots)
    idle_SxG = jnp.full((slots, lanes), slots, jnp.int32)
    return Lanes(
        slots_SxG=idle_SxG.at[step_U, lane_J[number_U]].set(slot_U, mode="drop"),
        steps=load_G.max(),
        previous_U=jnp.where(begins_U, -1, slot_U - 1),
        position_U=position_U + earlier,
        used_U=used_U,
    )


def recur(step: Step, weights: Any, x: Any, lanes: Lanes, initial: Any) -> Any:
    """Runs a recurrence over the turns of every conversation.

    Args:
        step: Computes the state after a turn.
        weights: A tree of arrays, for ``step``.
        x: A tree of ``[U, ...]``, for ``step``. What unused slots hold is not read.
        lanes: Of the pack.
        initial: A tree of ``[...]``, the state before the first turn.

    Returns:
        The states after every turn, a tree of ``[U, ...]``; zeros in unused slots.
    """

    def without_notes(weights: Any, state: Any, x: Any, past: Past) -> tuple[Any, Array]:
        return step(weights, state, x), past.notes_NxKxD[:, 0]

    before = jnp.zeros((1, 0), jnp.result_type(*jax.tree.leaves(initial)))
    return recur_noting(without_notes, weights, x, lanes, initial, before)[0]


def recur_noting(
    step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Float[Array, "K D"]
) -> tuple[Any, Float[Array, "U D"]]:
    """Runs a recurrence whose steps read what the K turns before them in their conversation noted.

    The turns of a conversation must be computed in the order in which they lie on the axis.

    Args:
        step: Computes the state after a turn, and its note.
        weights: As in ``recur``.
        x: As in ``recur``.
        lanes: As in ``recur``.
        initial: As in ``recur``.
        before_KxD: The notes of the K turns before the pack, the last one last. A turn sees as many of them as
            ``lanes.position_U`` says that there are.

    Returns:
        The states after every turn and their notes; zeros in unused slots.
    """
    used_U = lanes.used_U
    x = jax.tree.map(lambda a: jnp.where(_wide(used_U, a), a, 0), x)
    return _recur(step, weights, x, lanes, initial, before_KxD)


def last_state(states: Any, lanes: Lanes, initial: Any) -> Any:
    """Returns the state after the last turn of a pack whose turns are of one conversation, and come first in it."""
    turns = lanes.used_U.sum()
    return jax.tree.map(lambda states, first: jnp.where(turns > 0, states[turns - 1], first), states, initial)


class _Rows:
    """Where states and notes of slots lie: those before the pack come first, that of no slot (U) last."""

    def __init__(self, lanes: Lanes, window: int):
        self._window = window
        self._previous = jnp.append(lanes.previous_U, -1)
        self._position = jnp.append(lanes.position_U, 0)
        self.slots = lanes.previous_U.shape[0]

    def joined(self, initial: Any, before_KxD: Array, of_state: Any, of_note: Array) -> tuple[Any, Array]:
        """Returns states and notes of all rows: what is before the pack, what slots have, and zeros for no slot."""
        states = jax.tree.map(
            lambda first, a: jnp.concatenate([first[None], a, jnp.zeros_like(a[:1])]), initial, of_state
        )
        return states, jnp.concatenate([before_KxD, of_note, jnp.zeros_like(of_note[:1])])

    def state_before(self, states: Any, slot_N: Array) -> Any:
        return jax.tree.map(lambda a: a[self._previous[slot_N] + 1], states)

    def add_before(self, states: Any, slot_N: Array, added: Any) -> Any:
        return jax.tree.map(lambda a, b: a.at[self._previous[slot_N] + 1].add(b), states, added)

    def past(self, notes: Array, slot_N: Array) -> Past:
        def window(slot: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(notes, slot, self._window)

        age_K = self._window - jnp.arange(self._window)
        seen_NxK = age_K <= self._position[slot_N][:, None]
        return Past(jnp.where(seen_NxK[..., None], jax.vmap(window)(slot_N), 0), seen_NxK)

    def add_past(self, notes: Array, slot_N: Array, added_NxKxD: Array) -> Array:
        rows_NxK = slot_N[:, None] + jnp.arange(self._window)
        return notes.at[rows_NxK].add(added_NxKxD)

    def own(self, states: Any, notes: Array, slot_N: Array) -> tuple[Any, Array]:
        return jax.tree.map(lambda a: a[slot_N + 1], states), notes[slot_N + self._window]

    def set_own(self, states: Any, notes: Array, slot_N: Array, new: tuple[Any, Array]) -> tuple[Any, Array]:
        states = jax.tree.map(lambda a, b: a.at[slot_N + 1].set(b), states, new[0])
        return states, notes.at[slot_N + self._window].set(new[1])

    def of_slots(self, states: Any, notes: Array) -> tuple[Any, Array]:
        return jax.tree.map(lambda a: a[1:-1], states), notes[self._window : -1]


def _take(x: Any, slot_N: Array) -> Any:
    """Returns rows of the inputs; those of no slot are the last slot's, which nothing reads."""
    return jax.tree.map(lambda a: a.at[slot_N].get(mode="clip"), x)


def _wide(which_N: Array, like: Array) -> Array:
    """Returns a mask of the first axis that broadcasts to an array."""
    return which_N.reshape(-1, *[1] * (like.ndim - 1))


def _forward(
    step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Array
) -> tuple[Any, Array]:
    """Returns the states and notes of all rows."""
    rows = _Rows(lanes, before_KxD.shape[0])
    nothing = jax.tree.map(lambda a: jnp.zeros((rows.slots, *a.shape), a.dtype), (initial, before_KxD[0]))

    def body(index: Array, all_rows: tuple[Any, Array]) -> tuple[Any, Array]:
        slot_G = lanes.slots_SxG[index]
        states, notes = all_rows
        new = step(weights, rows.state_before(states, slot_G), _take(x, slot_G), rows.past(notes, slot_G))
        return rows.set_own(states, notes, slot_G, new)

    return jax.lax.fori_loop(0, lanes.steps, body, rows.joined(initial, before_KxD, *nothing))


def _recur_fwd(
    step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Array
) -> tuple[Any, Any]:
    states, notes = _forward(step, weights, x, lanes, initial, before_KxD)
    result = _Rows(lanes, before_KxD.shape[0]).of_slots(states, notes)
    return result, (weights, x, lanes, states, notes, before_KxD.shape)


def _recur_bwd(step: NotingStep, kept: Any, given: tuple[Any, Array]) -> tuple[Any, ...]:
    weights, x, lanes, states, notes, (window, _) = kept
    rows = _Rows(lanes, window)
    used_U = lanes.used_U
    given = jax.tree.map(lambda a: jnp.where(_wide(used_U, a), a, 0), given)
    first = jax.tree.map(lambda a: jnp.zeros_like(a[0]), states)

    def of_states(index: Array, gradients: tuple[Any, Array]) -> tuple[Any, Array]:
        """Goes one step back: from the gradients of what it made to those of what it read."""
        slot_G = lanes.slots_SxG[lanes.steps - 1 - index]
        past, x_G = rows.past(notes, slot_G), _take(x, slot_G)

        def made(state: Any, notes_GxKxD: Array) -> tuple[Any, Array]:
            return step(weights, state, x_G, Past(notes_GxKxD, past.seen_NxK))

        _, pull_back = jax.vjp(made, rows.state_before(states, slot_G), past.notes_NxKxD)
        to_state, to_past = pull_back(rows.own(*gradients, slot_G))
        busy_G = slot_G < rows.slots
        to_state, to_past = jax.tree.map(lambda a: jnp.where(_wide(busy_G, a), a, 0), (to_state, to_past))
        to_past = jnp.where(past.seen_NxK[..., None], to_past, 0)
        return rows.add_before(gradients[0], slot_G, to_state), rows.add_past(gradients[1], slot_G, to_past)

    nothing = rows.joined(first, jnp.zeros_like(notes[:window]), *given)
    to_states, to_notes = jax.lax.fori_loop(0, lanes.steps, of_states, nothing)

    def of_block(to_weights: Any, slot_N: Array) -> tuple[Any, Any]:
        """Adds the gradients of the weights that some turns give, and returns those of their inputs."""
        state, past = rows.state_before(states, slot_N), rows.past(notes, slot_N)
        _, pull_back = jax.vjp(lambda weights, x: step(weights, state, x, past), weights, _take(x, slot_N))
        more, to_x = pull_back(rows.own(to_states, to_notes, slot_N))
        return jax.tree.map(jnp.add, to_weights, more), to_x

    none_yet = jax.tree.map(jnp.zeros_like, weights)
    size = rows.slots if window * notes.shape[1] == 0 else min(_BLOCK, rows.slots)
    blocks = -(-rows.slots // size)
    slots = jnp.minimum(jnp.arange(blocks * size), rows.slots).reshape(blocks, size)
    to_weights, to_x = jax.lax.scan(of_block, none_yet, slots)
    to_x = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[: rows.slots], to_x)
    return to_weights, to_x, None, jax.tree.map(lambda a: a[0], to_states), to_notes[:window]


def _recur_primal(step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Array) -> Any:
    return _recur_fwd(step, weights, x, lanes, initial, before_KxD)[0]


_recur = jax.custom_vjp(_recur_primal, nondiff_argnums=(0,))
_recur.defvjp(_recur_fwd, _recur_bwd)
