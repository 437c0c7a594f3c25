"""Short digests of a dataset, which tell whether two runs were trained on the same data."""

import hashlib
import json

from dtrm_jax.conversation import Dataset

_LETTERS = 16  # of a SHA-256 in hexadecimal


def fingerprint(dataset: Dataset) -> dict[str, str]:
    """Returns digests of the conversations and of each modality's features.

    Features have digests of their own because runs with and without them are compared.

    Args:
        dataset: As the run uses it.

    Returns:
        "conversations" -> digest of the label space and of everything about the turns except their features; the name
        of every feature -> its digest.
    """
    parts = {"conversations": hashlib.sha256(json.dumps([dataset.name, dataset.labels.names]).encode())}
    parts |= {name: hashlib.sha256() for name in dataset.feature_sizes()}
    for split, conversations in dataset.splits.items():
        for conversation in conversations:
            turns = [(turn.id, turn.speaker, turn.text, turn.label, turn.values) for turn in conversation.turns]
            parts["conversations"].update(json.dumps([split, conversation.id, turns]).encode())
            for name, matrix in conversation.features.items():
                parts[name].update(matrix.astype("<f4").tobytes())
    return {name: digest.hexdigest()[:_LETTERS] for name, digest in parts.items()}
