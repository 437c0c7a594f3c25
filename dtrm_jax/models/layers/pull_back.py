"""The arrays inside the pull-back of a function over turns, of which a loop over turns must keep one kind.

``jax.vjp`` returns a function with arrays inside it. They are arguments of the function, which are at hand where the
gradient is computed; or what depends on the weights alone; or what was computed of the turns, with an axis of turns.
Only the last differ from step to step of a loop and cannot be had again without computing them again.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dtrm_jax.batch import Array

# (weights, of_turns) -> (result, pull-back).
Linearised = Callable[[Any, Any], tuple[Any, Callable[..., Any]]]


@jax.tree_util.register_static
class Residuals:
    """What is inside a pull-back; static, and a tree without leaves.

    Args:
        linearised: ``jax.vjp`` of a function. It must not close over traced arrays.
        weights: Its weights, of which only shapes and types are read, as of all arguments.
        of_turns: A tree of arrays with a leading axis of turns.
        turns: The length of that axis in calls of the pull-back.
    """

    def __init__(self, linearised: Linearised, weights: Any, of_turns: Any, turns: int):
        self._linearised = linearised
        leaves = self._trace(weights, of_turns, turns)
        # An axis whose length changes with the number of turns is the axis of turns.
        longer = jax.tree.leaves(jax.eval_shape(self._inside, weights, _of_length(of_turns, turns + 1)))
        self._axes = [_axis(one.shape, other.shape) for one, other in zip(leaves, longer, strict=True)]

    def at(self, weights: Any, of_turns: Any, turns: int) -> "Residuals":
        """Returns the same for another number of turns."""
        result = copy.copy(self)
        result._trace(weights, of_turns, turns)
        return result

    def _trace(self, weights: Any, of_turns: Any, turns: int) -> list[Any]:
        self._numbers: list[int | None] = []

        def trace(weights: Any, of_turns: Any) -> Any:
            pull_back = self._inside(weights, of_turns)
            arguments = {id(leaf): number for number, leaf in enumerate(jax.tree.leaves((weights, of_turns)))}
            self._numbers = [arguments.get(id(leaf)) for leaf in jax.tree.leaves(pull_back)]
            return pull_back

        leaves, self._tree = jax.tree.flatten(jax.eval_shape(trace, weights, _of_length(of_turns, turns)))
        return leaves

    def _inside(self, weights: Any, of_turns: Any) -> Any:
        return self._linearised(weights, of_turns)[1]

    def of_turns(self, pull_back: Callable[..., Any]) -> list[Array]:
        """Returns what is to be kept, with a leading axis of turns."""
        return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in self._kept(pull_back) if axis is not None]

    def fixed(self, weights: Any, of_turns: Any) -> list[Array]:
        """Returns what depends on the weights alone."""
        if not any(number is None and axis is None for number, axis in zip(self._numbers, self._axes, strict=True)):
            return []
        return [leaf for leaf, axis in self._kept(self._inside(weights, of_turns)) if axis is None]

    def _kept(self, pull_back: Callable[..., Any]) -> list[tuple[Array, int | None]]:
        leaves = zip(jax.tree.leaves(pull_back), self._numbers, self._axes, strict=True)
        return [(leaf, axis) for leaf, number, axis in leaves if number is None]

    def pull_back(
        self, weights: Any, of_turns: Any, kept: Sequence[Array], fixed: Sequence[Array]
    ) -> Callable[..., Any]:
        """Returns the pull-back at some turns.

        Args:
            weights: The weights.
            of_turns: The other arguments, of as many turns as were named.
            kept: ``of_turns`` of those turns.
            fixed: ``fixed`` of any.
        """
        arguments, kept, fixed = jax.tree.leaves((weights, of_turns)), iter(kept), iter(fixed)
        leaves = []
        for number, axis in zip(self._numbers, self._axes, strict=True):
            if number is not None:
                leaves.append(arguments[number])
            else:
                leaves.append(next(fixed) if axis is None else jnp.moveaxis(next(kept), 0, axis))
        return jax.tree.unflatten(self._tree, leaves)


def _of_length(of_turns: Any, turns: int) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((turns, *a.shape[1:]), a.dtype), of_turns)


def _axis(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """Returns the axis in which two shapes differ, if they do."""
    return next((axis for axis, (size, length) in enumerate(zip(one, other, strict=True)) if size != length), None)
