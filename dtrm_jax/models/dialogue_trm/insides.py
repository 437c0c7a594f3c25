"""What goes on inside the model at every turn, in a few numbers that a compiled program can hand out beside its output.

``summarise`` is called where the model is compiled, so that attention weights and gates, which are many times larger
than the outputs, never leave the device. ``evaluation.inspection`` returns them whole, for one conversation.

Attention is averaged over the heads and layers of a Transformer: each head of each layer is a distribution over the
same positions, and so is their mean. Above the first layer a position also holds what that turn has seen of others, so
that the mean says where a turn looks, not what its prediction is due to.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dtrm_jax.batch import Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.models.dialogue_trm.fusions.mgif import pairs, positions
from dtrm_jax.models.dialogue_trm.model import DialogueTRM, presence
from dtrm_jax.models.dialogue_trm.representations import LETTERS, Presence

# Kinds of fusion with a gate for each pair of modalities, and with a Transformer over e_CLS and what follows it.
_GATED = ("mgif", "mgif_without_representation")
_WITH_E_CLS = ("mgif", "mgif_without_prototype")

Insides = dict[str, Array]


def summarise(model: DialogueTRM, sown: Mapping[str, Any], pack: Batch) -> Insides:
    """Returns a few numbers for every utterance slot of a pack.

    A model without one of these parts has no such entries: context-free modalities, 0 layers, other fusions, one
    modality alone. Entries of unused slots mean nothing.

    Args:
        model: For packs of this shape.
        sown: The model's ``intermediates``.
        pack: What it was run on.

    Returns:
        Name -> ``[U]``. For the letter ``m`` of every context-dependent modality (eq. 3): ``attended_turn_m`` (int32),
        the index in its conversation of the earlier turn that is attended to most, the latest of equals, -1 if none is
        seen; ``attended_weight_m`` its weight; ``attended_self_m`` the weight of the turn itself. For every pair of
        modalities ``gate_xy``, the mean over the neurons of MGIF's gate (eq. 11), the share of the first. For every
        position of MGIF's Transformer ``fusion_<position>``, the attention of ``e_CLS`` on it (eq. 15). The last three
        are float32, NaN where a turn lacks the modality, or one of the pair.
    """
    present_U = presence(model.config, pack)
    return (
        _attended(model, sown, pack, present_U)
        | _gates(model.config, sown, present_U)
        | _e_cls(model.config, sown, present_U)
    )


def weights_by_distance(
    weights_BxHxCxS: Float[Array, "B H C S"], conversation_U: Int[Array, " U"], turn_U: Int[Array, " U"], window: int
) -> Float[Array, "U K1"]:
    """Returns the mean over heads of ``banded_attention``'s weights by distance ``i - j`` in turns, 0 to K.

    Args:
        weights_BxHxCxS: By block; with look-back, the keys of the block before come first.
        conversation_U: Conversation ids, negative where there is none.
        turn_U: Turn indices; the turns of a conversation lie side by side, in order.
        window: K.

    Returns:
        Zeros where there is no turn at that distance.
    """
    blocks, _, size, keys = weights_BxHxCxS.shape
    weights_BCxS = weights_BxHxCxS.astype(jnp.float32).mean(axis=1).reshape(blocks * size, keys)[: len(turn_U)]
    distance_K1 = jnp.arange(window + 1)
    own_U = jnp.arange(len(turn_U)) % size + (keys - size)
    key_UxK1 = own_U[:, None] - distance_K1
    there_UxK1 = (distance_K1 <= turn_U[:, None]) & (conversation_U[:, None] >= 0)
    return jnp.where(there_UxK1, jnp.take_along_axis(weights_BCxS, jnp.maximum(key_UxK1, 0), axis=1), 0)


def _attended(model: DialogueTRM, sown: Mapping[str, Any], pack: Batch, present_U: Presence) -> Insides:
    result = {}
    for name in present_U:
        if getattr(model.config.context, name) != "dependent" or not model.config.intra_modal.layers:
            continue
        letter, branch = LETTERS[name], sown if _is_encoded(model.config, name) else sown[name]
        # As in the model's feature branch: what lacks the modality is in no conversation.
        conversation_U = jnp.where(present_U[name], pack.conversation_U, -2)
        weights_UxK1 = _mean_over_layers(
            branch["intra_modal"],
            lambda weights, ids=conversation_U: weights_by_distance(weights, ids, pack.turn_U, model.window),
        )
        itself_U = jnp.where(present_U[name], weights_UxK1[:, 0], jnp.nan)
        distance_U, weight_U = _largest(weights_UxK1[:, 1:])
        turn_U = jnp.where(weight_U > 0, pack.turn_U - distance_U, -1)
        result[f"attended_turn_{letter}"] = turn_U.astype(jnp.int32)
        result[f"attended_weight_{letter}"] = jnp.where(turn_U >= 0, weight_U, jnp.nan)
        result[f"attended_self_{letter}"] = itself_U
    return result


def _largest(weights_UxK: Float[Array, "U K"]) -> tuple[Int[Array, " U"], Float[Array, " U"]]:
    """Returns the distance, from 1, of the largest weight and the weight; 0 where K is 0."""
    if not weights_UxK.shape[1]:
        zeros_U = jnp.zeros(len(weights_UxK))
        return zeros_U.astype(jnp.int32), zeros_U
    return 1 + weights_UxK.argmax(axis=1), weights_UxK.max(axis=1)


def _gates(config: ModelConfig, sown: Mapping[str, Any], present_U: Presence) -> Insides:
    if config.fusion.kind not in _GATED:
        return {}
    result = {}
    for x, y in pairs(present_U):
        name = f"gate_{LETTERS[x]}{LETTERS[y]}"
        (z_UxD,) = sown["fusion"][name]["value"]
        # Where one of the two is absent there is nothing to weigh.
        both_U = present_U[x] & present_U[y]
        result[name] = jnp.where(both_U, z_UxD.astype(jnp.float32).mean(axis=1), jnp.nan)
    return result


def _e_cls(config: ModelConfig, sown: Mapping[str, Any], present_U: Presence) -> Insides:
    if len(present_U) < 2 or config.fusion.kind not in _WITH_E_CLS or not config.fusion.layers:
        return {}
    weights_UxP = _mean_over_layers(
        sown["fusion"], lambda weights_UxHxPxP: weights_UxHxPxP[:, :, 0].astype(jnp.float32).mean(axis=1)
    )
    names = positions(present_U) if config.fusion.kind in _GATED else ["e_CLS", *config.modalities]
    result = {}
    for index, name in enumerate(names):
        there_U = present_U[MODALITIES[name[0]]] if index else True
        result[f"fusion_{name}"] = jnp.where(there_U, weights_UxP[:, index], jnp.nan)
    return result


def _is_encoded(config: ModelConfig, name: str) -> bool:
    return name == "utterance" and config.utterance == "encoder"


def _mean_over_layers(module: Mapping[str, Any], of_layer: Callable[[Array], Array]) -> Array:
    """Returns the mean of what ``of_layer`` makes of each layer's attention weights."""
    layers = [layer["attention"]["weights"][0] for layer in module["transformer"].values()]
    return jnp.stack([of_layer(weights) for weights in layers]).mean(axis=0)
