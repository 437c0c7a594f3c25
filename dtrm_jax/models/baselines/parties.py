"""What models with a state for every party of a conversation have in common: DialogueRNN and COSMIC."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.cells import Affine, GRUCell, gru
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.few_rows import FewRows, StepAffine
from dtrm_jax.models.layers.steps import Past


def split_gru(
    name: str, known_UxI: Float[Array, "U I"], width: int, states: Sequence[int]
) -> tuple[Float[Array, "U Y"], list[FewRows], StepAffine]:
    """Makes a GRU on ``[known; states]``, whose product with what is known needs no loop over turns.

    To be called in a module's compact method.

    Args:
        name: Of the cell.
        known_UxI: What is known of the turns beforehand.
        width: Of its state.
        states: Widths of the states that it reads besides its own.

    Returns:
        The product with what is known, the matrices of the states, and the map of its own state.
    """
    inputs = known_UxI.shape[-1]
    cell = GRUCell(width, name=name)(inputs + sum(states))
    places = [inputs + sum(states[:index]) for index in range(len(states))]
    of_known, *of_states = jnp.split(cell.inputs.kernel_IxY, places)
    return Affine(of_known, cell.inputs.bias_Y)(known_UxI), [*map(FewRows.of, of_states)], cell.hidden


def attended(past: Past, scores_NxK: Float[Array, "N K"]) -> Float[Array, "N D"]:
    """Returns the notes of earlier turns, weighted by the softmax of scores; zeros where there are none."""
    alpha_NxK = jax.nn.softmax(jnp.where(past.seen_NxK, scores_NxK, jnp.finfo(jnp.float32).min), axis=-1)
    return jnp.einsum("nk,nkd->nd", jnp.where(past.seen_NxK, alpha_NxK, 0), past.notes_NxKxD)


def of_speaker(states_NxPxD: Float[Array, "N P D"], speaks_NxP: Float[Array, "N P"]) -> Float[Array, "N D"]:
    """Returns the state of the party that speaks.

    Args:
        states_NxPxD: Of the parties.
        speaks_NxP: One-hot.
    """
    return jnp.einsum("npd,np->nd", states_NxPxD, speaks_NxP)


def replaced(
    speaker_NxD: Float[Array, "N D"], others_NxPxD: Float[Array, "N P D"], speaks_NxP: Float[Array, "N P"]
) -> Float[Array, "N P D"]:
    """Returns the states of the parties: a new one of who speaks, those given of the others."""
    speaks_NxPx1 = speaks_NxP[:, :, None]
    return speaks_NxPx1 * speaker_NxD[:, None] + (1 - speaks_NxPx1) * others_NxPxD


def keep(rate: float, deterministic: bool, *shape: int) -> Array | None:
    """Returns the factors of dropout for a loop that can draw none; None if there is no dropout."""
    return None if deterministic or not rate else Dropout(rate)(jnp.ones(shape), deterministic)


def kept(x: Array, factors: Array | None) -> Array:
    """Returns what dropout leaves of a state."""
    return x if factors is None else x * factors


def dropped_gru(hidden: StepAffine, h_NxD: Array, turn: tuple[Array, Array | None]) -> Array:
    """A step of a GRU whose new state dropout acts on.

    Args:
        hidden: ``Cell.hidden``.
        h_NxD: The state before.
        turn: ``Cell.inputs`` of the turn, and the factors of dropout.
    """
    projected_NxY, factors = turn
    return kept(gru(hidden, h_NxD, projected_NxY), factors)
