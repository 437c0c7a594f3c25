"""What CMN and ICON have in common: how memories are read, and how their authors trained them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.histories import attend

# Of their authors' code, for both. Learning rates are halved every 60 epochs of which there are 10, and the gradient of
# each array is clipped by itself; here it is that of all.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "": {
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 1e-3,
        "optimizer.warmup_steps": 0,
        "optimizer.gradient_clip": 40.0,
        "train.epochs": 10,
        "packing.utterances": 512,  # their batch is 512 turns, each with a history of its own
    }
}


def read(
    q_UxD: Float[Array, "U D"],
    m_KxUxD: Float[Array, "K U D"],
    taken_KxU: Bool[Array, "K U"],
    drop: Callable[[Array], Array],
) -> Float[Array, "U D"]:
    """Returns ``sum_j softmax_j(tanh(q . m_j)) m_j`` over the memories that are taken; zeros where none is.

    Args:
        q_UxD: Queries.
        m_KxUxD: Memories.
        taken_KxU: Which of them are.
        drop: Dropout on the weights.
    """
    weights_KxU = attend(jnp.tanh(jnp.einsum("ud,kud->ku", q_UxD, m_KxUxD)), taken_KxU)
    return jnp.einsum("ku,kud->ud", drop(weights_KxU), m_KxUxD)
