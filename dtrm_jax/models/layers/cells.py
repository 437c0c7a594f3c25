"""The recurrent cells GRU and LSTM, parametrised as PyTorch's, and one layer of either over the turns of a pack.

A cell's product with its inputs does not depend on the state, so that it is computed for all turns at once; what is
left for the loop is the product with the state.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.models.layers.few_rows import StepAffine
from dtrm_jax.models.layers.lanes import Lanes, enough, in_lanes, last_state
from dtrm_jax.models.layers.memory import MEMORY, goes_on
from dtrm_jax.models.layers.recurrence import NotingStep, Step, recur, recur_noting


class Affine(NamedTuple):
    """``x W + b``.

    Attributes:
        kernel_IxY: W.
        bias_Y: b.
    """

    kernel_IxY: Float[Array, "I Y"]
    bias_Y: Float[Array, " Y"]

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... Y"]:
        """Returns the product."""
        return x @ self.kernel_IxY + self.bias_Y


class Cell(NamedTuple):
    """The parameters of a cell, the gates side by side: reset, update, new (GRU); input, forget, cell, output (LSTM).

    Attributes:
        inputs: Of the product with the inputs.
        hidden: Of the product with the state.
    """

    inputs: Affine
    hidden: StepAffine


class _Uniform(nn.Module):
    """The parameters of an affine map of a cell."""

    features: int
    width: int

    @nn.compact
    def __call__(self, inputs: int) -> Affine:
        kernel = self.param("kernel", uniform(self.width), (inputs, self.features))
        return Affine(kernel, self.param("bias", uniform(self.width), (self.features,)))


def uniform(width: int) -> nn.initializers.Initializer:
    """Returns PyTorch's initial values of cells and of small layers: uniform within ``1 / sqrt(width)``."""

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, minval=-(width**-0.5), maxval=width**-0.5)

    return draw


class _Gates(nn.Module):
    """The parameters of a cell whose products give ``gates`` vectors of its width."""

    gates: ClassVar[int]

    width: int

    @nn.compact
    def __call__(self, inputs: int) -> Cell:
        """Returns the parameters for inputs of this width."""
        sizes = {"features": self.gates * self.width, "width": self.width}
        of_inputs = _Uniform(**sizes, name="inputs")(inputs)
        return Cell(of_inputs, StepAffine.of(*_Uniform(**sizes, name="hidden")(self.width)))


class GRUCell(_Gates):
    """The parameters of a GRU.

    Attributes:
        width: D, of the state.
    """

    gates: ClassVar[int] = 3


class LSTMCell(_Gates):
    """The parameters of an LSTM.

    Attributes:
        width: D, of the state.
    """

    gates: ClassVar[int] = 4


def gru(hidden: StepAffine, h: Float[Array, "... D"], projected: Float[Array, "... Y"]) -> Float[Array, "... D"]:
    """Returns the state after a turn (Cho et al., 2014), as ``torch.nn.GRUCell``.

    ``r = sigmoid(x_r + h_r)``, ``z = sigmoid(x_z + h_z)``, ``n = tanh(x_n + r h_n)``, ``h' = (1 - z) n + z h``.

    Args:
        hidden: ``Cell.hidden``; gives ``h_r, h_z, h_n``.
        h: The state before it.
        projected: ``Cell.inputs`` of the turn: ``x_r, x_z, x_n``; leading axes may be of size 1.
    """
    (x_r, x_z, x_n), (h_r, h_z, h_n) = _gates(projected, 3), _gates(hidden(h), 3)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return (1 - z) * n + z * h


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gates(x: Array, count: int) -> list[Array]:
    """Splits the last axis. The gradients are put side by side, where JAX would pad each of them and add them up."""
    return jnp.split(x, count, axis=-1)


def _gates_fwd(x: Array, count: int) -> tuple[list[Array], None]:
    return _gates(x, count), None


def _gates_bwd(_count: int, _kept: None, given: list[Array]) -> tuple[Array]:
    return (jnp.concatenate(given, axis=-1),)


_gates.defvjp(_gates_fwd, _gates_bwd)

# Output and cell of an LSTM.
LSTMState = tuple[Float[Array, "N D"], Float[Array, "N D"]]


def lstm(hidden: StepAffine, state: LSTMState, projected: Float[Array, "N Y"]) -> LSTMState:
    """Returns the state after a turn (Hochreiter and Schmidhuber, 1997), as ``torch.nn.LSTMCell``.

    ``i, f, o = sigmoid(x + h)``, ``g = tanh(x + h)``, ``c' = f c + i g``, ``h' = o tanh(c')``.

    Args:
        hidden: ``Cell.hidden``.
        state: h and c before it.
        projected: ``Cell.inputs`` of the turn.
    """
    h, c = state
    i, f, g, o = _gates(projected + hidden(h), 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


# Kind -> parameters, step, and the initial state of a width.
_KINDS: dict[str, tuple[type[nn.Module], Callable[..., Any], Callable[[int], Any]]] = {
    "gru": (GRUCell, gru, lambda width: jnp.zeros(width)),
    "lstm": (LSTMCell, lstm, lambda width: (jnp.zeros(width), jnp.zeros(width))),
}


class Recurrent(nn.Module):
    """One recurrent layer in one direction. In a pack that goes on, it begins with the state that it remembers.

    Attributes:
        kind: "gru" or "lstm".
        width: D.
        backward: Whether it begins with the last turn; no pack can go on then.
    """

    kind: str
    width: int
    backward: bool = False

    @nn.compact
    def __call__(self, x_UxI: Float[Array, "U I"], lanes: "Ways") -> Float[Array, "U D"]:
        """Returns the state after every turn; zeros in unused slots.

        Args:
            x_UxI: Inputs.
            lanes: Of the pack.
        """
        parameters, step, zeros = _KINDS[self.kind]
        cell = parameters(self.width, name="cell")(x_UxI.shape[-1])
        projected = cell.inputs(x_UxI)
        way = lanes.backward if self.backward else lanes.forward
        if self.backward:
            projected = projected[::-1]
        states = follow(self, step, cell.hidden, projected, way, zeros(self.width))
        h_UxD = states[0] if self.kind == "lstm" else states
        return h_UxD[::-1] if self.backward else h_UxD


def follow(
    module: nn.Module, step: Step, weights: Any, x: Any, lanes: Lanes, zeros: Any, *, name: str = "state"
) -> Any:
    """``recur`` that begins with zeros, or where a pack goes on with the state after the pack before.

    Args:
        module: Remembers the state.
        step: As in ``recur``.
        weights: As in ``recur``.
        x: As in ``recur``.
        lanes: As in ``recur``.
        zeros: The state before the first turn of a conversation.
        name: Of the variable of the memory.
    """
    if not goes_on(module):
        return recur(step, weights, x, lanes, zeros)
    memory = module.variable(MEMORY, name, lambda: zeros)
    states = recur(step, weights, x, lanes, memory.value)
    memory.value = last_state(states, lanes, memory.value)
    return states


def follow_noting(
    module: nn.Module, step: NotingStep, weights: Any, x: Any, lanes: Lanes, zeros: Any, nothing_KxD: Array
) -> Any:
    """``recur_noting`` that begins with zeros, or where a pack goes on with what is remembered.

    Args:
        module: Remembers the state and the last K notes.
        step: As in ``recur_noting``.
        weights: As in ``recur``.
        x: As in ``recur``.
        lanes: As in ``recur``.
        zeros: The state before the first turn of a conversation.
        nothing_KxD: Zeros in place of the notes before it.

    Returns:
        The states after every turn.
    """
    if not goes_on(module):
        return recur_noting(step, weights, x, lanes, zeros, nothing_KxD)[0]
    state = module.variable(MEMORY, "state", lambda: zeros)
    notes = module.variable(MEMORY, "notes", lambda: nothing_KxD)
    states, own_UxD = recur_noting(step, weights, x, lanes, state.value, notes.value)
    state.value = last_state(states, lanes, state.value)
    known = jnp.concatenate([notes.value, own_UxD])
    notes.value = jax.lax.dynamic_slice_in_dim(known, lanes.used_U.sum(), len(nothing_KxD))
    return states


class Ways(NamedTuple):
    """The lanes of a pack for both directions.

    Attributes:
        forward: Of the axis of utterances.
        backward: Of that axis flipped.
    """

    forward: Lanes
    backward: Lanes


def ways(batch: Batch, *, both: bool) -> Ways:
    """Returns the lanes of a pack; those of the second direction are computed only where they are needed.

    Args:
        batch: The pack. Its first turn may be a later one of its conversation, if the pack goes on.
        both: Whether both directions are needed.
    """
    lanes = enough(batch.turn_U.shape[0])
    forward = in_lanes(batch.conversation_U, lanes, earlier=jnp.asarray(batch.turn_U)[0])
    return Ways(forward, in_lanes(batch.conversation_U[::-1], lanes) if both else forward)


class Bidirectional(nn.Module):
    """One recurrent layer in both directions or forward alone, with the states of both side by side.

    Attributes:
        kind: As in ``Recurrent``.
        width: D of each direction.
        both: Whether there are both.
    """

    kind: str
    width: int
    both: bool

    @nn.compact
    def __call__(self, x_UxI: Float[Array, "U I"], lanes: Ways) -> Float[Array, "U Y"]:
        """Returns the states after every turn, forward first."""
        forward = Recurrent(self.kind, self.width, name="forward")(x_UxI, lanes)
        if not self.both:
            return forward
        backward = Recurrent(self.kind, self.width, backward=True, name="backward")(x_UxI, lanes)
        return jnp.concatenate([forward, backward], axis=-1)
