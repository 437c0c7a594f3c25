"""Everything that a model computes on its way, by name: the gates of MGIF, the attention of every Transformer.

The few numbers per turn that ``predictions.csv`` has of it come from the model's own summary instead
(``Evaluator.outputs_and_insides``).
"""

from typing import Any

import flax.traverse_util
import jax
import numpy as np

from dtrm_jax.batch import Batch
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.run import restore_run
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import RunDirectory


def inspect_conversation(
    run: RunDirectory, split: str, conversation: str, *, checkpoint: str = "best", source: str | None = None
) -> dict[str, np.ndarray]:
    """Returns the result of ``read_out`` for one conversation of a trained run, with its ``L`` turns only.

    Args:
        run: The run directory.
        split: train, dev or test.
        conversation: Its id, as in ``predictions.csv``.
        checkpoint: "best", "latest" or a step.
        source: Folder of the raw files, if it is not the one the run was trained with.

    Raises:
        InputError: As ``restore_run``, or the split has no such conversation.
    """
    restored = restore_run(run, split=split, checkpoint=checkpoint, source=source)
    ids = [one.id for one in restored.conversations]
    if conversation not in ids:
        raise InputError(f"{restored.corpus} {split}: expected the id of a conversation, found {conversation!r}")
    example = restored.examples[ids.index(conversation)]
    shape, trained = restored.plan.shape, restored.trained
    found = read_out(trained.model(shape), trained.params, build_pack([example], shape))
    slots, turns = shape.utterances, len(example.labels)
    return {name: array[:turns] if len(array) == slots else array for name, array in found.items()}


def read_out(model: Model, params: Any, pack: Batch) -> dict[str, np.ndarray]:
    """Runs the model on one pack, without dropout, and returns its gate values and attention weights.

    Args:
        model: For packs of this shape.
        params: Its parameters.
        pack: Without a leading axis. Entries of unused utterance slots mean nothing.

    Returns:
        Path in the model -> array, for instance ``fusion/gate_ua/value`` ``[U, D]``, the share of the utterance in the
        pair utterance, acoustic; ``fusion/transformer/layer_0/attention/weights`` ``[U, H, P, P]`` over
        ``MGIF.positions``; ``intra_modal/transformer/layer_0/attention/weights`` ``[B, H, A, W]`` by
        block of turns (``models.layers.attention``), or ``[U, H, 1]`` where it is context-free. The
        encoder's attention comes as one array per row length: ``.../weights/0``.
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
