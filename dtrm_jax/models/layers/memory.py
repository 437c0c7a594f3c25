"""What a model remembers of a conversation, from one pack to the next that goes on with it.

A module that needs something of earlier turns keeps it in variables of the collection ``MEMORY``, whose initial values
are zeros: ``self.variable(MEMORY, "state", jnp.zeros, shape)``.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Int

from dtrm_jax.batch import Array

MEMORY = "memory"


def goes_on(module: nn.Module) -> bool:
    """Whether the pack goes on where an earlier one ended, so that a module reads and writes its memory."""
    return module.is_mutable_collection(MEMORY) and not module.is_initializing()


def last_turns(module: nn.Module, new: dict[str, Array], window: int, used: Int[Array, ""]) -> dict[str, Array]:
    """Returns what is known of the K turns before the pack and of its own, and remembers the last K of all.

    Args:
        module: Remembers them, as "turns".
        new: Name -> ``[U, ...]``, of the pack's turns.
        window: K.
        used: How many turns the pack has; they come first.

    Returns:
        Name -> ``[K + U, ...]``; zeros before the first turn of the conversation.
    """

    def nothing() -> dict[str, Any]:
        return {name: jnp.zeros((window, *x.shape[1:]), x.dtype) for name, x in new.items()}

    memory = module.variable(MEMORY, "turns", nothing)
    known = {name: jnp.concatenate([memory.value[name], x]) for name, x in new.items()}
    memory.value = {name: jax.lax.dynamic_slice_in_dim(x, used, window) for name, x in known.items()}
    return known
