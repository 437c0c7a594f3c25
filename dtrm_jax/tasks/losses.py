"""Losses as (sum, count): divided once, after the sums over micro-batches and devices."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from dtrm_jax.batch import Array


def cross_entropy(
    logits_UxC: Float[Array, "U C"],
    label_U: Int[Array, " U"],
    weight_U: Float[Array, " U"],
    class_weights_C: Float[Array, " C"],
    label_smoothing: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Softmax cross-entropy over the turns that count.

    Args:
        logits_UxC: Unnormalised scores.
        label_U: Classes; anything where ``weight_U`` is 0.
        weight_U: 1 where the turn counts, else 0.
        class_weights_C: Weight of each class; a turn counts with the weight of its label.
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        The weighted sum of the losses and the sum of the weights.
    """
    classes = logits_UxC.shape[-1]
    known_U = jnp.where(weight_U > 0, label_U, 0)
    target_UxC = optax.smooth_labels(jax.nn.one_hot(known_U, classes), label_smoothing)
    loss_U = optax.softmax_cross_entropy(logits_UxC, target_UxC)
    scale_U = weight_U * class_weights_C[known_U]
    return jnp.sum(loss_U * scale_U), jnp.sum(scale_U)


def squared_error(
    output_UxV: Float[Array, "U V"], value_UxV: Float[Array, "U V"], weight_UxV: Float[Array, "U V"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Squared error over the values that are annotated.

    Args:
        output_UxV: Predictions.
        value_UxV: What was annotated; anything where ``weight_UxV`` is 0.
        weight_UxV: 1 where the value counts, else 0.

    Returns:
        The sum of the squared errors and the number of values.
    """
    return jnp.sum((output_UxV - value_UxV) ** 2 * weight_UxV), jnp.sum(weight_UxV)
