"""What a model remembers of a conversation, from one pack to the next that goes on with it.

A module that needs something of earlier turns keeps it in variables of the collection ``MEMORY``, whose initial values
are zeros: ``self.variable(MEMORY, "state", jnp.zeros, shape)``.
"""

import flax.linen as nn

MEMORY = "memory"


def goes_on(module: nn.Module) -> bool:
    """Whether the pack goes on where an earlier one ended, so that a module reads and writes its memory."""
    return module.is_mutable_collection(MEMORY) and not module.is_initializing()
