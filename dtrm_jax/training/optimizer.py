"""AdamW with warm-up and linear decay, and a learning rate for each part of the model."""

from collections.abc import Collection
from typing import Any

import flax.traverse_util
import numpy as np
import optax

from dtrm_jax.config import OptimizerConfig

_BIASES = ("bias", "turn_distance")  # of layers, and of attention's scores


def schedule(peak: float, config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Linear from 0 to ``peak`` over the warm-up (``OptimizerConfig.warmup``), then linear to 0 at ``total_steps``."""
    warmup_steps = config.warmup(total_steps)
    return optax.schedules.join_schedules(
        [
            optax.schedules.linear_schedule(0.0, peak, warmup_steps),
            optax.schedules.linear_schedule(peak, 0.0, total_steps - warmup_steps),
        ],
        [warmup_steps],
    )


def describe_schedule(config: OptimizerConfig, total_steps: int) -> list[str]:
    """Returns what becomes of the learning rates in a run, and a line if the warm-up is not what it should be."""
    warmup = config.warmup(total_steps)
    rise = f"rise until step {warmup} and" if warmup else "begin at their peak and"
    lines = [f"the learning rates {rise} fall to 0 until step {total_steps}"]
    wanted = f"config.optimizer.warmup_steps={config.warmup_steps}"
    if warmup < config.warmup_steps:
        lines.append(f"look at this: {wanted} has no room in {total_steps} steps; warm-up is the first tenth of them")
    elif 2 * warmup > total_steps:
        lines.append(f"look at this: {wanted} is more than half of {total_steps} steps")
    return lines


def part_of(params: Any, encoder_parts: Collection[str]) -> Any:
    """Returns a tree like ``params`` with "encoder" or "above" at every leaf.

    Args:
        params: The model's parameters.
        encoder_parts: Names of the top-level parameters that learn at the encoder's rate.
    """
    return flax.traverse_util.path_aware_map(lambda path, _: "encoder" if path[0] in encoder_parts else "above", params)


def decay_mask(params: Any) -> Any:
    """Returns True for matrices and tensors, False for vectors, such as those of layer norms, and for biases."""
    return flax.traverse_util.path_aware_map(lambda path, array: np.ndim(array) > 1 and path[-1] not in _BIASES, params)


def build_optimizer(
    config: OptimizerConfig, total_steps: int, encoder_parts: Collection[str]
) -> optax.GradientTransformation:
    """Builds the optimizer of section 5.2.

    Args:
        config: Rates, betas, decay, clipping.
        total_steps: Steps of the whole run, at which the learning rates reach 0.
        encoder_parts: As in ``part_of``.
    """

    def adamw(peak: float) -> optax.GradientTransformation:
        return optax.adamw(
            schedule(peak, config, total_steps),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=None if config.decay_biases_and_norms else decay_mask,
        )

    parts = optax.partition(
        {"encoder": adamw(config.encoder_learning_rate), "above": adamw(config.learning_rate)},
        lambda params: part_of(params, encoder_parts),
    )
    if config.gradient_clip == 0:
        return parts
    return optax.chain(optax.clip_by_global_norm(config.gradient_clip), parts)
