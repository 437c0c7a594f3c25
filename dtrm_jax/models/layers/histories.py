"""The turns before each turn, in order, and recurrences over them that begin anew for every turn.

A memory network looks back on the last K turns of a conversation as the turn at hand sees them, so that every turn has
a history of its own. The axis of turns is shifted by 1 to K to get them all (``Histories.near``), which costs time and
memory linear in the turns; a recurrence (``over_history``) takes the steps of all turns' histories together.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Shaped

from dtrm_jax.batch import Array, Batch
from dtrm_jax.models.layers.cells import Cell, gru
from dtrm_jax.models.layers.memory import goes_on, last_turns


class Histories:
    """The K turns before every turn, the oldest first. A pack that goes on also has those of the packs before it.

    To be made in a compact method of a module, which remembers the turns; once per module.

    Args:
        module: The module.
        x_UxI: Vectors of the turns.
        batch: One pack.
        window: K.

    Attributes:
        x_XxI: Vectors of the turns before the pack and of its own.
        seen_KxU: bool, whether there is such a turn in the conversation.
        own_KxU: bool, whether there is, and by the speaker of the turn at hand.
    """

    def __init__(self, module: nn.Module, x_UxI: Float[Array, "U I"], batch: Batch, window: int):
        self._turns = batch.turn_U.shape[0]
        used_U = batch.conversation_U != -1
        new = {
            "vectors": jnp.where(used_U[:, None], x_UxI, 0),
            "conversation": batch.conversation_U,
            "speaker": batch.speaker_U,
            "used": used_U,
        }
        if goes_on(module):
            self._window = window
            known = last_turns(module, new, window, jnp.sum(used_U))
        else:
            self._window = min(window, max(1, self._turns - 1))
            known = {name: _after_nothing(x, self._window) for name, x in new.items()}
        self.x_XxI: Float[Array, "X I"] = known["vectors"]
        self.seen_KxU: Bool[Array, "K U"] = (
            self.near(known["used"]) & used_U & (self.near(known["conversation"]) == batch.conversation_U)
        )
        self.own_KxU: Bool[Array, "K U"] = self.seen_KxU & (self.near(known["speaker"]) == batch.speaker_U)

    def near(self, x_X: Shaped[Array, "X ..."]) -> Shaped[Array, "K U ..."]:
        """Returns what the K turns before every turn have; of turns that are not seen, anything.

        Args:
            x_X: One row per turn, as ``x_XxI``.
        """
        return jnp.stack([x_X[first : first + self._turns] for first in range(self._window)])


def _after_nothing(x: Array, turns: int) -> Array:
    return jnp.concatenate([jnp.zeros((turns, *x.shape[1:]), x.dtype), x])


# (weights, state, projected input) -> state, of all turns at once.
Step = Callable[[Any, Array, Any], Array]


def over_history(
    step: Step, weights: Any, x: Any, taken_KxU: Bool[Array, "K U"], width: int, *, backward: bool = False
) -> Float[Array, "K U D"]:
    """Runs a recurrence over every turn's history, from a state of zeros.

    Args:
        step: Computes the state after one turn of the history. It must not close over traced arrays.
        weights: A tree of arrays, for ``step``.
        x: A tree of ``[K, U, ...]``, for ``step``.
        taken_KxU: The turns that the recurrence takes; the state passes the others by unchanged.
        width: D.
        backward: Whether it begins with the newest turn.

    Returns:
        The states after every turn of the histories, in the order of the turns.
    """
    return _over_history(step, width, backward, weights, x, taken_KxU)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _over_history(step: Step, width: int, backward: bool, weights: Any, x: Any, taken_KxU: Array) -> Array:
    """Without gradients, what a step reads is cut out a step before it, for the reason that ``recurrence`` gives."""
    of_turns, first, ahead = (x, taken_KxU), -1 if backward else 0, 1 if backward else -1

    def advance(carried: tuple[Array, Any], of_turn_after: Any) -> tuple[tuple[Array, Any], Array]:
        state_UxD = _advanced(step, weights, *carried)
        return (state_UxD, of_turn_after), state_UxD

    begins = (_nothing(taken_KxU, width), jax.tree.map(lambda a: a[first], of_turns))
    after = jax.tree.map(lambda a: jnp.roll(a, ahead, axis=0), of_turns)
    return jax.lax.scan(advance, begins, after, reverse=backward)[1]


def _to_be_pulled_back(step: Step, width: int, backward: bool, weights: Any, x: Any, taken_KxU: Array) -> Array:
    """The same as XLA computes it faster where gradients are wanted."""

    def advance(state_UxD: Array, of_turn: tuple[Any, Array]) -> tuple[Array, Array]:
        state_UxD = _advanced(step, weights, state_UxD, of_turn)
        return state_UxD, state_UxD

    return jax.lax.scan(advance, _nothing(taken_KxU, width), (x, taken_KxU), reverse=backward)[1]


_over_history.defvjp(
    lambda step, width, backward, *given: jax.vjp(functools.partial(_to_be_pulled_back, step, width, backward), *given),
    lambda step, width, backward, pull_back, given: pull_back(given),
)


def _nothing(taken_KxU: Array, width: int) -> Array:
    return jnp.zeros((taken_KxU.shape[1], width))


def _advanced(step: Step, weights: Any, state_UxD: Array, of_turn: tuple[Any, Array]) -> Array:
    x, taken_U = of_turn
    return jnp.where(taken_U[:, None], step(weights, state_UxD, x), state_UxD)


def gru_over_history(
    cell: Cell, projected_KxUxY: Float[Array, "K U Y"], taken_KxU: Bool[Array, "K U"], *, backward: bool = False
) -> Float[Array, "K U D"]:
    """Returns ``over_history`` of a GRU.

    Args:
        cell: Its parameters.
        projected_KxUxY: ``cell.inputs`` of the turns of every history.
        taken_KxU: As in ``over_history``.
        backward: As in ``over_history``.
    """
    width = cell.hidden.inputs
    return over_history(gru, cell.hidden, projected_KxUxY, taken_KxU, width, backward=backward)


def attend(scores_KxU: Float[Array, "K U"], taken_KxU: Bool[Array, "K U"]) -> Float[Array, "K U"]:
    """Returns the softmax of each turn's scores over the turns of its history that are taken; zeros elsewhere."""
    lowest = jnp.finfo(scores_KxU.dtype).min
    return jnp.where(taken_KxU, jax.nn.softmax(jnp.where(taken_KxU, scores_KxU, lowest), axis=0), 0)
