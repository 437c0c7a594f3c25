"""What a dataset is, in a few letters: to know whether two runs were trained on the same."""

import hashlib
import json

from dtrm_jax.conversation import Dataset

_LETTERS = 16  # of a SHA-256 in hexadecimal


def fingerprint(dataset: Dataset) -> dict[str, str]:
    """Returns digests of the conversations and of each modality's features.

    They are apart because a model takes some features only, and runs with and without them are compared.

    Args:
        dataset: As the run uses it.

    Returns:
        "conversations", of the label space and of everything about the turns but their features, and the name of every
        feature -> digest.
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
