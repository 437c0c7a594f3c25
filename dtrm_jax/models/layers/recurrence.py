"""Recurrence over the turns of a pack, with a backward pass that computes no state again.

The number of steps (``lanes``) depends on the pack, and not only on its shape, so that ``lax.scan`` would have to run
as many steps as a pack has slots. Here it is a ``lax.while_loop`` with a backward pass of its own. In training, the
loop keeps of every turn its state, its note and what the gradient of its step needs (``pull_back``), as ``lax.scan``
does, but per turn and not per step of every lane. Notes of earlier turns, K per turn, are not kept: both loops carry
those of the last K steps along. The loop backwards yields the gradients of the states, the notes and the inputs. Those
of the weights follow from them afterwards, of many turns in one product.

Memory is linear in turns, whatever K is: DialogueRNN with its published sizes for IEMOCAP keeps 64 kB per turn and
direction, of which 20 kB are the states.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.lanes import Lanes
from dtrm_jax.models.layers.pull_back import Residuals
from dtrm_jax.models.layers.recurrence_backward import Made, NotingStep, Run, linearised, to_turns, to_weights
from dtrm_jax.models.layers.steps import Past, Steps, in_places, in_slots, set_note, where

# (weights, state, x) -> state. Every array of state and x has a leading axis of turns, which are computed independently
# of each other, as many at once as there are; the weights have none. It must not close over traced arrays.
Step = Callable[[Any, Any, Any], Any]


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
    before = jnp.zeros((1, 0), jnp.result_type(*jax.tree.leaves(initial)))
    return recur_noting(_Silent(step), weights, x, lanes, initial, before)[0]


class _Silent(NamedTuple):
    """A step whose notes are empty. Equal steps are equal, so that nothing is traced again."""

    step: Step

    def __call__(self, weights: Any, state: Any, x: Any, past: Past) -> tuple[Any, Array]:
        return self.step(weights, state, x), past.notes_NxKxD[:, 0]


def recur_noting(
    step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Float[Array, "K D"]
) -> tuple[Any, Float[Array, "U D"]]:
    """Runs a recurrence whose steps read what the K turns before them in their conversation noted.

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
    return _recur(step, weights, x, lanes, initial, before_KxD)


def _forward(step: Callable[..., tuple[Any, ...]], run: Run, *, cut_ahead: bool) -> tuple[Any, ...]:
    """Runs a step that returns state, note, and more to be kept; returns all that, of all places.

    Args:
        step: The step.
        run: What the recurrence was given.
        cut_ahead: Whether the inputs of a step are cut out of their array a step before. Without gradients, XLA
            computes all gates in one loop over numbers, and its code for a CPU is slow if it cuts in there, too. With
            them, there are several, and to carry the inputs along costs more than that.
    """
    steps = Steps(run.lanes, len(run.before_KxD))

    def at(index: Array, state: Any, x: Any, notes_GxKxD: Array) -> tuple[Any, ...]:
        state = where(steps.begins(index), steps.every_lane(run.initial), state)
        return step(run.weights, state, x, steps.past(index, notes_GxKxD))

    def body(index: Array, carried: tuple[Any, ...]) -> tuple[Any, ...]:
        state, ahead, note_GxD, notes_GxKxD, made_X = carried
        # What was noted a step ago is written before anything is read, so that nothing is copied.
        notes_GxKxD = set_note(notes_GxKxD, note_GxD, index - 1)
        made = at(index, state, ahead if cut_ahead else steps.of(index, run.x_X), notes_GxKxD)
        ahead = steps.of(index + 1, run.x_X) if cut_ahead else ()
        return made[0], ahead, made[1], notes_GxKxD, steps.put(index, made_X, made)

    state, notes_GxKxD = steps.every_lane((run.initial, run.before_KxD))
    none = jnp.zeros((), jnp.int32)
    x = steps.of(none, run.x_X)
    shapes = jax.eval_shape(at, none, state, x, notes_GxKxD)
    nothing = jax.tree.map(lambda a: jnp.zeros((steps.places, *a.shape[1:]), a.dtype), shapes)
    carried = (state, x if cut_ahead else (), notes_GxKxD[:, -1], notes_GxKxD, nothing)
    return jax.lax.fori_loop(0, run.lanes.steps, body, carried)[-1]


def _recur_primal(step: NotingStep, weights: Any, x: Any, lanes: Lanes, initial: Any, before_KxD: Array) -> Any:
    run = Run(weights, in_places(lanes, x), lanes, initial, before_KxD)
    return in_slots(lanes, _forward(step, run, cut_ahead=True))


def _recur_fwd(step: NotingStep, *primals: Any) -> tuple[Any, tuple[Run, Made]]:
    weights, x, lanes, initial, before_KxD = jax.tree.map(lambda one: one.value, primals)
    run = Run(weights, in_places(lanes, x), lanes, initial, before_KxD)
    residuals = Residuals(functools.partial(linearised, step), weights, run.of_turns(), lanes.count)

    def keeping(weights: Any, *of_turns: Any) -> tuple[Any, ...]:
        made, pull_back = linearised(step, weights, of_turns)
        return *made, residuals.of_turns(pull_back)

    states_X, notes_XxD, kept_X = _forward(keeping, run, cut_ahead=False)
    fixed = residuals.fixed(weights, run.of_turns())
    return in_slots(lanes, (states_X, notes_XxD)), (run, Made(states_X, notes_XxD, kept_X, fixed, residuals))


def _recur_bwd(step: NotingStep, saved: tuple[Run, Made], given: tuple[Any, Any]) -> tuple[Any, ...]:
    run, made = saved
    places, slots = len(run.lanes.slot_X), len(run.lanes.place_U)

    def given_in_places(given: Any) -> Array:
        if isinstance(given, SymbolicZero):
            return jnp.zeros((places, *given.shape[1:]), given.dtype)
        return in_places(run.lanes, given)

    given_X = jax.tree.map(given_in_places, given, is_leaf=lambda a: isinstance(a, SymbolicZero))
    found = to_turns(run, made, given_X)
    x_leaves, x_tree = jax.tree.flatten(run.x_X)
    to_x = [
        np.zeros((slots, *x.shape[1:]), jax.dtypes.float0) if to_x is None else in_slots(run.lanes, to_x)
        for x, to_x in zip(x_leaves, found.x_X, strict=True)
    ]
    of_weights = to_weights(run, made, found.made_X)
    return of_weights, jax.tree.unflatten(x_tree, to_x), None, found.initial, found.before_KxD


_recur = jax.custom_vjp(_recur_primal, nondiff_argnums=(0,))
_recur.defvjp(_recur_fwd, _recur_bwd, symbolic_zeros=True)
