"""What every encoder is held to against PyTorch: equal states on packed sequences, and equal gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from tests.packed import pack

TOLERANCE = 1e-5
Params = Mapping[str, Any]


def assert_states_equal(
    module: nn.Module, params: Params, sequences: Sequence, layout: tuple, alone: Callable[[Any], Any]
) -> None:
    """Compares every hidden state of packed sequences with ``alone``, PyTorch's states ``[T, D]`` of one sequence."""
    arrays, rows, slots = pack(sequences, layout)
    forward = jax.jit(lambda params: module.apply({"params": params}, *arrays, rows, deterministic=True))
    states = np.asarray(forward(params))
    assert len(slots) == len(sequences)
    for member, where in slots.items():
        expected = alone(sequences[member]).detach().numpy()
        np.testing.assert_allclose(states[where], expected, rtol=0, atol=TOLERANCE, err_msg=f"sequence {member}")


def assert_read_states_equal(
    module: nn.Module, params: Params, sequences: Sequence, layout: tuple, theirs_NxTxD: np.ndarray
) -> None:
    """Compares the states read at each first slot, and at the last slot of sequence 3, with a padded batch."""
    arrays, rows, slots = pack(sequences, layout)
    first = np.array([slots[member][0] for member in range(len(sequences))])
    read_O = np.concatenate([first, [slots[3][-1]]]).astype(np.int32)
    forward = jax.jit(lambda p: module.apply({"params": p}, *arrays, rows, read_O=read_O, deterministic=True))
    expected = np.concatenate([theirs_NxTxD[:, 0], theirs_NxTxD[3, -1:]])
    np.testing.assert_allclose(np.asarray(forward(params)), expected, rtol=0, atol=TOLERANCE)


def gradients_of_first_states(
    module: nn.Module, params: Params, sequences: Sequence, layout: tuple, weights_NxD: np.ndarray
) -> Params:
    """Returns the gradients of the weighted sum of the states at each sequence's first slot."""
    arrays, rows, slots = pack(sequences, layout)
    read_O = np.array([slots[member][0] for member in range(len(sequences))], np.int32)

    def loss(params):
        return (module.apply({"params": params}, *arrays, rows, read_O=read_O, deterministic=True) * weights_NxD).sum()

    return jax.jit(jax.grad(loss))(params)


def backward_of_first_states(sequences: Sequence, weights_NxD: np.ndarray, alone: Callable[[Any], Any]) -> None:
    """Leaves the same sum's gradients at PyTorch's parameters."""
    states = (alone(sequence)[0] for sequence in sequences)
    sum((state * state.new_tensor(w)).sum() for state, w in zip(states, weights_NxD, strict=True)).backward()


def assert_gradients_equal(found: Params, expected: Params, scale: float) -> None:
    """Compares two trees of gradients, in units of ``scale``, their largest value."""

    def assert_close(path, a, b):
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=TOLERANCE, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(assert_close, found, expected)
