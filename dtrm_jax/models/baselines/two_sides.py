"""What CMN and ICON have in common: the two sides, how memories are read, and how their authors trained them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.cells import GRUCell
from dtrm_jax.models.layers.histories import Histories, attend, gru_over_history

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


def states_of_sides(histories: Histories, width: int) -> dict[str, tuple[Bool[Array, "K U"], Float[Array, "K U D"]]]:
    """Returns for both sides which turns of every history are theirs, and the states of a GRU of their own over them.

    To be called in a compact method of a module, which gets the GRUs ``own`` and ``others``.

    Args:
        histories: Of the turns.
        width: D.
    """
    own_KxU = histories.own_KxU
    result = {}
    for name, taken_KxU in {"own": own_KxU, "others": histories.seen_KxU & ~own_KxU}.items():
        cell = GRUCell(width, name=name)(histories.x_XxI.shape[-1])
        projected_KxUxY = histories.near(cell.inputs(histories.x_XxI))
        result[name] = (taken_KxU, gru_over_history(cell, projected_KxUxY, taken_KxU))
    return result


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
