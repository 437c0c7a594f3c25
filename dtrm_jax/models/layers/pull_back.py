"""The arrays inside the pull-back of a function over turns, of which a loop over turns must keep one kind.

``jax.vjp`` returns a function with arrays inside it. They are arguments of the function, which are at hand where the
gradient is computed; or what depends on the weights alone; or what was computed of the turns, with an axis of turns.
Only the last differ from step to step of a loop and cannot be had again without computing them again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dtrm_jax.batch import Array

# (weights, of_turns) -> (result, pull-back).
Linearised = Callable[[Any, Any], tuple[Any, Callable[..., Any]]]


class Residuals:
    """What is inside a pull-back; static.

    Args:
        linearised: ``jax.vjp`` of a function. It must not close over traced arrays.
        weights: Its weights, of which only shapes and types are read, as of all arguments.
        of_turns: A tree of arrays with a leading axis of turns.
        turns: The length of that axis in calls of the pull-back.
    """

    def __init__(self, linearised: Linearised, weights: Any, of_turns: Any, turns: int):
        def traced(turns: int) -> tuple[Any, list[int | None]]:
            numbers: list[int | None] = []

            def trace(weights: Any, of_turns: Any) -> Any:
                pull_back = linearised(weights, of_turns)[1]
                arguments = {id(leaf): number for number, leaf in enumerate(jax.tree.leaves((weights, of_turns)))}
                numbers.extend(arguments.get(id(leaf)) for leaf in jax.tree.leaves(pull_back))
                return pull_back

            shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct((turns, *a.shape[1:]), a.dtype), of_turns)
            return jax.eval_shape(trace, weights, shapes), numbers

        pull_back, self._numbers = traced(turns)
        leaves, self._tree = jax.tree.flatten(pull_back)
        # An axis whose length changes with the number of turns is the axis of turns.
        longer = jax.tree.leaves(traced(turns + 1)[0])
        self._axes = [
            next(
                (axis for axis, sizes in enumerate(zip(one.shape, other.shape, strict=True)) if len(set(sizes)) > 1),
                None,
            )
            for one, other in zip(leaves, longer, strict=True)
        ]

    def of_turns(self, pull_back: Callable[..., Any]) -> list[Array]:
        """Returns what is to be kept, with a leading axis of turns."""
        return [jnp.moveaxis(leaf, axis, 0) for leaf, axis in self._kept(pull_back) if axis is not None]

    def fixed(self, pull_back: Callable[..., Any]) -> list[Array]:
        """Returns what depends on the weights alone."""
        return [leaf for leaf, axis in self._kept(pull_back) if axis is None]

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
