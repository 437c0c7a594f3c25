"""Where the attention of the paper's model looks, in a few numbers per turn.

They are computed where the model is compiled, so that attention weights, which are many times larger than the outputs,
never leave the device. ``evaluation.intermediates`` returns them whole, for one conversation.

Attention is averaged over the heads and layers of a Transformer: each head of each layer is a distribution over the
same positions, and so is their mean. Above the first layer a position also holds what that turn has seen of others. The
mean therefore says where a turn looks, not why it predicts what it does.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.dialogue_trm.fusions.fusion import LETTERS, Presence
from dtrm_jax.models.layers.transformer import mean_over_layers


def attended(
    config: ModelConfig, window: int, sown: Mapping[str, Any], pack: Batch, present_U: Presence, *, later: bool
) -> dict[str, Array]:
    """Returns three numbers per context-dependent modality (eq. 3) for every utterance slot of a pack.

    Context-free modalities and models of 0 layers have none. Entries of unused slots mean nothing.

    Args:
        config: The model's settings.
        window: K.
        sown: The model's "intermediates".
        pack: The pack that it was run on.
        present_U: Modality -> whether the turn has it.
        later: Whether later turns are seen too; ``inside_later_m`` is then the weight on all of them together.

    Returns:
        Name -> ``[U]``, for the letter ``m`` of each modality: ``attended_turn_m`` (int32), the index in its
        conversation of the earlier turn that is attended to most, the latest of equals, -1 if none is seen;
        ``attended_weight_m``, its weight; ``attended_self_m``, the weight of the turn itself. Weights are float32, NaN
        where a turn lacks the modality.
    """
    result: dict[str, Array] = {}
    for name in present_U:
        if getattr(config.context, name) != "dependent" or not config.intra_modal.layers:
            continue
        branch = sown[name] if name in config.feature_modalities else sown
        result |= _attended_in(LETTERS[name], branch, pack, present_U[name], window, later)
    return result


def _attended_in(
    letter: str, branch: Mapping[str, Any], pack: Batch, present_U: Array, window: int, later: bool
) -> dict[str, Array]:
    conversation_U = jnp.where(present_U, pack.conversation_U, -1)  # what the others see means nothing in their columns
    weights_UxK1 = mean_over_layers(
        branch["intra_modal"], lambda weights: weights_by_distance(weights, conversation_U, pack.turn_U, window)
    )
    distance_U, weight_U = _largest(weights_UxK1[:, 1:])
    turn_U = jnp.where(weight_U > 0, pack.turn_U - distance_U, -1)
    result = {
        f"attended_turn_{letter}": turn_U.astype(jnp.int32),
        f"attended_weight_{letter}": jnp.where(turn_U >= 0, weight_U, jnp.nan),
        f"attended_self_{letter}": jnp.where(present_U, weights_UxK1[:, 0], jnp.nan),
    }
    if later:
        # What a turn gives to no turn up to itself; rounding may take it below 0.
        result[f"inside_later_{letter}"] = jnp.where(present_U, jnp.maximum(1 - weights_UxK1.sum(axis=1), 0), jnp.nan)
    return result


def weights_by_distance(
    weights_BxHxAxW: Float[Array, "B H A W"], conversation_U: Int[Array, " U"], turn_U: Int[Array, " U"], window: int
) -> Float[Array, "U K1"]:
    """Returns the mean over heads of ``banded_attention``'s weights by distance ``i - j`` in turns, 0 to K.

    Args:
        weights_BxHxAxW: By block; of several blocks, the keys of the block before come first, and of a pack that goes
            on, those of the K turns before it.
        conversation_U: Conversation ids, negative in slots without a conversation.
        turn_U: Turn indices; the turns of a conversation lie side by side, in order.
        window: K.

    Returns:
        Zeros where there is no turn at that distance.
    """
    blocks, _, size, keys = weights_BxHxAxW.shape
    weights_BAxW = weights_BxHxAxW.astype(jnp.float32).mean(axis=1).reshape(blocks * size, keys)[: len(turn_U)]
    distance_K1 = jnp.arange(window + 1)
    before = window if keys == size + window else size if keys > size else 0  # keys that come before a block's own
    own_U = jnp.arange(len(turn_U)) % size + before
    key_UxK1 = own_U[:, None] - distance_K1
    there_UxK1 = (distance_K1 <= turn_U[:, None]) & (conversation_U[:, None] >= 0)
    return jnp.where(there_UxK1, jnp.take_along_axis(weights_BAxW, jnp.maximum(key_UxK1, 0), axis=1), 0)


def _largest(weights_UxK: Float[Array, "U K"]) -> tuple[Int[Array, " U"], Float[Array, " U"]]:
    """Returns the distance, from 1, of the largest weight and the weight; 0 where K is 0."""
    if not weights_UxK.shape[1]:
        zeros_U = jnp.zeros(len(weights_UxK))
        return zeros_U.astype(jnp.int32), zeros_U
    return 1 + weights_UxK.argmax(axis=1), weights_UxK.max(axis=1)
