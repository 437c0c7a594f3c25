"""What the steps of a recurrence in lanes read and write.

The arrays of a pack lie in the order of places (``lanes``). A step reads and writes as many as there are lanes, from
the place that it begins with; where lanes have ended, these are later steps' places, which are written again by those.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.lanes import Lanes


class Past(NamedTuple):
    """What turns before have noted, for N turns.

    Attributes:
        notes_NxKxD: What the K turns before each noted, in any order; anything where there is none.
        age_NxK: How many turns ago that was, 1 to K.
        seen_NxK: Whether there is such a turn in the conversation.
    """

    notes_NxKxD: Float[Array, "N K D"]
    age_NxK: Int[Array, "N K"]
    seen_NxK: Bool[Array, "N K"]


class Steps:
    """The steps of a pack.

    Args:
        lanes: Of the pack.
        window: K.

    Attributes:
        lanes: Of the pack.
        window: K.
        places: X.
    """

    def __init__(self, lanes: Lanes, window: int):
        self.lanes, self.window, self.places = lanes, window, len(lanes.slot_X)
        self._position_X = lanes.position_U.at[lanes.slot_X].get(mode="fill", fill_value=0)
        self._previous_X = lanes.previous_U.at[lanes.slot_X].get(mode="fill", fill_value=-1)

    def of(self, step: Array, tree: Any) -> Any:
        """Returns what a step reads, ``[G, ...]`` of ``[X, ...]``; that of the first one if there is no such step."""
        return rows(tree, self.lanes.first_S[jnp.maximum(step, 0)], self.lanes.count)

    def put(self, step: Array, tree: Any, written: Any) -> Any:
        """Returns ``[X, ...]`` with what a step writes."""
        first = self.lanes.first_S[step]
        return jax.tree.map(lambda a, b: jax.lax.dynamic_update_slice_in_dim(a, b, first, 0), tree, written)

    def add(self, step: Array, tree: Any, added: Any) -> Any:
        """Returns ``[X, ...]`` with what a step adds; lanes that have ended must add zeros."""
        return self.put(step, tree, jax.tree.map(jnp.add, self.of(step, tree), added))

    def every_lane(self, tree: Any) -> Any:
        """Returns ``[G, ...]``, the same of every lane."""
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (self.lanes.count, *a.shape)), tree)

    def busy(self, step: Array) -> Array:
        """Says which lanes have a turn, ``[G]``."""
        return jnp.arange(self.lanes.count) < self.lanes.first_S[step + 1] - self.lanes.first_S[step]

    def begins(self, step: Array) -> Array:
        """Says which lanes begin a conversation, ``[G]``. Those that have ended begin anew with every step."""
        return (self.of(step, self._previous_X) < 0) | ~self.busy(step)

    def past(self, step: Array, notes_GxKxD: Array) -> Past:
        """Returns what a step sees.

        Args:
            step: The step.
            notes_GxKxD: The note of step s is at ``s % K`` until that of step s + K takes its place.
        """
        age_GxK = self._ages(jnp.broadcast_to(step, self.lanes.count))
        return Past(notes_GxKxD, age_GxK, age_GxK <= self.of(step, self._position_X)[:, None])

    def last_notes(self, notes_XxD: Array, before_KxD: Array) -> Array:
        """Returns the notes of the last K steps, as ``past`` expects them, ``[G, K, D]``."""
        last_K = self.lanes.steps - self._ages(self.lanes.steps[None])[0]
        place_GxK = self.lanes.first_S[jnp.maximum(last_K, 0)] + jnp.arange(self.lanes.count)[:, None]
        return jnp.where(last_K[:, None] >= 0, notes_XxD[place_GxK], before_KxD)

    def of_places(
        self, first: Array, count: int, states_X: Any, notes_XxD: Array, initial: Any, before_KxD: Array
    ) -> tuple[Any, Past]:
        """Returns what ``count`` turns from a place on have read: their states before them, and what they have seen.

        Args:
            first: The place.
            count: How many.
            states_X: The states after all turns.
            notes_XxD: The notes of all turns.
            initial: The state before the first turn.
            before_KxD: The notes before the pack.
        """
        lanes = self.lanes
        previous_N, position_N, step_N = rows((self._previous_X, self._position_X, lanes.step_X), first, count)
        state = jax.tree.map(lambda a: a.at[lanes.place_U[previous_N]].get(mode="clip"), states_X)
        lane_N = first + jnp.arange(count) - lanes.first_S[step_N]
        age_NxK = self._ages(step_N)
        earlier_NxK = step_N[:, None] - age_NxK
        place_NxK = lanes.first_S[jnp.maximum(earlier_NxK, 0)] + lane_N[:, None]
        place_NxK = jnp.where(earlier_NxK >= 0, place_NxK, self.places + jnp.arange(self.window))
        notes_NxKxD = jnp.concatenate([notes_XxD, before_KxD])[place_NxK]
        return where(previous_N >= 0, state, initial), Past(notes_NxKxD, age_NxK, age_NxK <= position_N[:, None])

    def _ages(self, step_N: Array) -> Array:
        """Returns how many steps ago each note that a step sees was written, ``[N, K]``."""
        return (step_N[:, None] - 1 - jnp.arange(self.window)) % self.window + 1


def in_places(lanes: Lanes, tree: Any) -> Any:
    """Returns ``[X, ...]`` of ``[U, ...]``; zeros where there is no turn."""
    return jax.tree.map(lambda a: jnp.asarray(a).at[lanes.slot_X].get(mode="fill", fill_value=0), tree)


def in_slots(lanes: Lanes, tree: Any) -> Any:
    """Returns ``[U, ...]`` of ``[X, ...]``; zeros in unused slots."""
    return jax.tree.map(lambda a: a.at[lanes.place_U].get(mode="fill", fill_value=0), tree)


def rows(tree: Any, first: Array, count: int) -> Any:
    """Returns ``count`` rows of every array, from one on."""
    return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, count), tree)


def where(which_N: Array, chosen: Any, other: Any) -> Any:
    """Returns the rows of ``chosen`` that a mask names, and those of ``other`` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(which_N.reshape(-1, *[1] * (a.ndim - 1)), a, b), chosen, other)


def masked(which_N: Array, tree: Any) -> Any:
    """Returns the rows that a mask names, and zeros elsewhere."""
    return where(which_N, tree, jax.tree.map(lambda a: jnp.zeros((), a.dtype), tree))


def set_note(notes_GxKxD: Array, note_GxD: Array, step: Array) -> Array:
    """Returns the notes with that of a step."""
    return jax.lax.dynamic_update_slice_in_dim(notes_GxKxD, note_GxD[:, None], step % notes_GxKxD.shape[1], 1)


def note_of(notes_GxKxD: Array, step: Array) -> Array:
    """Returns the note of a step, ``[G, D]``."""
    return jax.lax.dynamic_index_in_dim(notes_GxKxD, step % notes_GxKxD.shape[1], 1, keepdims=False)
