"""What happens inside the model, by name: the gates of MGIF and the attention of every Transformer."""

from typing import Any

import flax.traverse_util
import jax
import numpy as np

from dtrm_jax.batch import Batch
from dtrm_jax.models.dialogue_trm import DialogueTRM


def read_out(model: DialogueTRM, params: Any, pack: Batch) -> dict[str, np.ndarray]:
    """Runs the model on one pack, without dropout, and returns its gate values and attention weights.

    Args:
        model: For packs of this shape.
        params: Its parameters.
        pack: Without a leading axis. Entries of unused utterance slots mean nothing.

    Returns:
        Path in the model -> array, for instance ``fusion/gate_ua/value`` ``[U, D]``, the share of the utterance in the
        pair utterance, acoustic; ``fusion/transformer/layer_0/attention/weights`` ``[U, H, P, P]`` over
        ``models.inter_modal.positions``; ``intra_modal/transformer/layer_0/attention/weights`` ``[B, H, C, S]`` by
        block of turns (``models.attention.banded_attention``), or ``[U, H, 1]`` where it is context-free. The
        encoder's attention comes as one array a row length: ``.../weights/0``.
    """
    apply = jax.jit(
        lambda params, pack: model.apply({"params": params}, pack, deterministic=True, mutable=["intermediates"])
    )
    _, sown = apply(params, pack)
    result = {}
    for path, values in flax.traverse_util.flatten_dict(sown["intermediates"], sep="/").items():
        leaves = jax.tree.leaves(values)
        for index, leaf in enumerate(leaves):
            result[path if len(leaves) == 1 else f"{path}/{index}"] = np.asarray(leaf)
    return result
