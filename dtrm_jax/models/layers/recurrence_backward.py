"""The backward pass of a recurrence in lanes (``recurrence``)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.lanes import Lanes
from dtrm_jax.models.layers.pull_back import Residuals
from dtrm_jax.models.layers.steps import Past, Steps, masked, note_of, rows, set_note, where

_TOGETHER = 2**26  # numbers of notes of earlier turns that are in memory together, for the gradients of weights

# (weights, state, x, past) -> (state, note). A note is one vector per turn.
NotingStep = Callable[[Any, Any, Any, Past], tuple[Any, Array]]


class Run(NamedTuple):
    """What a recurrence was given.

    Attributes:
        weights: Of its steps.
        x_X: Inputs of its steps.
        lanes: Of the pack.
        initial: The state before the first turn.
        before_KxD: The notes before the pack.
    """

    weights: Any
    x_X: Any
    lanes: Lanes
    initial: Any
    before_KxD: Array

    def of_turns(self) -> tuple[Any, Any, Past]:
        """Returns arguments of a step besides the weights, for their shapes."""
        steps, none = Steps(self.lanes, len(self.before_KxD)), jnp.zeros((), jnp.int32)
        state, notes_GxKxD = steps.every_lane((self.initial, self.before_KxD))
        return state, steps.of(none, self.x_X), steps.past(none, notes_GxKxD)


class Made(NamedTuple):
    """What a recurrence has kept.

    Attributes:
        states_X: The states after all turns.
        notes_XxD: Their notes.
        kept_X: ``Residuals.of_turns``.
        fixed: ``Residuals.fixed``.
        residuals: Of a step.
    """

    states_X: Any
    notes_XxD: Array
    kept_X: list[Array]
    fixed: list[Array]
    residuals: Residuals


class ToTurns(NamedTuple):
    """Gradients.

    Attributes:
        made_X: Of states and notes.
        x_X: Of the inputs' leaves; None where an input is no real number.
        initial: Of the state before the first turn.
        before_KxD: Of the notes before the pack.
    """

    made_X: tuple[Any, Array]
    x_X: list[Array | None]
    initial: Any
    before_KxD: Array


def linearised(step: NotingStep, weights: Any, of_turns: tuple[Any, Any, Past]) -> tuple[Any, Callable[..., Any]]:
    """Returns what a step makes, and its pull-back to weights, state, inputs and earlier notes."""
    state, x, past = of_turns
    return jax.vjp(
        lambda weights, state, x, notes_NxKxD: step(weights, state, x, past._replace(notes_NxKxD=notes_NxKxD)),
        *(weights, state, x, past.notes_NxKxD),
    )


class _Behind(NamedTuple):
    """Where the loop backwards is: the gradients of what the step before has made, from all later steps, and more.

    Attributes:
        state: Gradient of the state, ``[G, ...]``.
        note_GxD: Of the note.
        past_GxKxD: Of the notes that the last step has seen, as ``Steps.past`` has them.
        notes_GxKxD: Those notes.
        done: Gradients so far; those of the initial state and the notes before by lane.
    """

    state: Any
    note_GxD: Array
    past_GxKxD: Array
    notes_GxKxD: Array
    done: ToTurns


def to_turns(run: Run, made: Made, given_X: tuple[Any, Array]) -> ToTurns:
    """Goes back step by step: from the gradients of what a step made to those of what it read."""
    lanes, window = run.lanes, len(run.before_KxD)
    steps = Steps(lanes, window)

    def body(index: Array, behind: _Behind) -> _Behind:
        index, done = lanes.steps - 1 - index, behind.done
        begins_G = steps.begins(index)
        # The note that this step's took the place of.
        earlier_GxD = jnp.where(
            index < window, run.before_KxD[index % window], steps.of(index - window, made.notes_XxD)
        )
        notes_GxKxD = set_note(behind.notes_GxKxD, earlier_GxD, index)
        to_made_X = steps.add(index, done.made_X, (behind.state, behind.note_GxD))
        state = where(begins_G, steps.every_lane(run.initial), steps.of(index - 1, made.states_X))
        of_turns = (state, steps.of(index, run.x_X), steps.past(index, notes_GxKxD))
        pull_back = made.residuals.pull_back(run.weights, of_turns, steps.of(index, made.kept_X), made.fixed)
        _, to_state, to_x, to_past = pull_back(masked(steps.busy(index), steps.of(index, to_made_X)))
        past_GxKxD = jnp.where((jnp.arange(window) == index % window)[:, None], 0, behind.past_GxKxD) + to_past
        to_x_X = [
            None if total is None else steps.add(index, total, own)
            for total, own in zip(done.x_X, jax.tree.leaves(to_x), strict=True)
        ]
        to_initial = jax.tree.map(jnp.add, done.initial, masked(begins_G, to_state))
        # What the step before has noted is read after the gradients have been written, so that nothing is copied.
        to_note_GxD = note_of(past_GxKxD, index - 1)
        done = ToTurns(to_made_X, to_x_X, to_initial, done.before_KxD)
        return _Behind(masked(~begins_G, to_state), to_note_GxD, past_GxKxD, notes_GxKxD, done)

    notes_GxKxD = steps.last_notes(made.notes_XxD, run.before_KxD)
    nothing = jax.tree.map(jnp.zeros_like, steps.every_lane(run.initial))
    to_x_X = [jnp.zeros_like(a) if jnp.issubdtype(a.dtype, jnp.inexact) else None for a in jax.tree.leaves(run.x_X)]
    start = ToTurns(given_X, to_x_X, nothing, run.before_KxD)
    past_GxKxD = jnp.zeros_like(notes_GxKxD)
    at_end = _Behind(nothing, past_GxKxD[:, 0], past_GxKxD, notes_GxKxD, start)
    behind = jax.lax.fori_loop(0, lanes.steps, body, at_end)
    initial, before_KxD = jax.tree.map(lambda a: a.sum(axis=0), (behind.done.initial, behind.past_GxKxD))
    return behind.done._replace(initial=initial, before_KxD=before_KxD)


def to_weights(run: Run, made: Made, to_made_X: tuple[Any, Array]) -> Any:
    """Returns the gradients of the weights, which many turns give together."""
    turns = run.lanes.first_S[-1]
    steps = Steps(run.lanes, len(run.before_KxD))
    # Blocks of one size, so that few turns are in two of them.
    most = -(-steps.places * run.before_KxD.size // _TOGETHER)
    size = -(-steps.places // max(most, 1))
    residuals = made.residuals.at(run.weights, run.of_turns(), size)

    def of_block(block: Array, total: Any) -> Any:
        # The last block begins early, so that it is as long as the others.
        first = jnp.minimum(block * size, steps.places - size)
        place_N = first + jnp.arange(size)
        new_N = (place_N >= block * size) & (place_N < turns)
        state, past = steps.of_places(first, size, made.states_X, made.notes_XxD, run.initial, run.before_KxD)
        x, kept, to_made = rows((run.x_X, made.kept_X, to_made_X), first, size)
        pull_back = residuals.pull_back(run.weights, (state, x, past), kept, made.fixed)
        return jax.tree.map(jnp.add, total, pull_back(masked(new_N, to_made))[0])

    blocks = (turns + size - 1) // size
    return jax.lax.fori_loop(0, blocks, of_block, jax.tree.map(jnp.zeros_like, run.weights))
