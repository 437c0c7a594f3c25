"""IEMOCAP: transcripts, speakers, labels, splits and features, from any of the field's pickles.

With COSMIC's ``iemocap.pkl`` (conv-emotion, ``COSMIC/feature-extraction``) its text and its split of 108, 12 and 31
conversations are used, and the features of other files in the folder are joined to it. A feature file alone brings its
own transcripts and its split of 120 and 31, without a dev split.
"""

import pathlib

from dtrm_jax.conversation import Dataset, LabelSpace
from dtrm_jax.data.readers import feature_files, joining
from dtrm_jax.errors import InputError

LABELS = LabelSpace(("happy", "sad", "neutral", "angry", "excited", "frustrated"))
FILE = "iemocap.pkl"


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: There are none.
    """
    paths = feature_files.candidates(source)
    if not paths:
        raise InputError(
            f"{source}: no pickle found, expected {FILE} of conv-emotion's COSMIC or a feature file of IEMOCAP, or "
            "a folder that has them"
        )
    return paths


def read(source: pathlib.Path) -> Dataset:
    """Reads IEMOCAP's conversations, in ascending order of their ids in each split.

    Args:
        source: A pickle, or a folder of them.

    Raises:
        InputError: A file is missing, is no admitted pickle, has another structure or does not fit the others; names
            the conversation.
    """
    corpora = [feature_files.read(path) for path in files(source)]
    conversations, splits = joining.transcribed(corpora, LABELS)
    return Dataset("iemocap", LABELS, {split: tuple(conversations[id] for id in ids) for split, ids in splits.items()})
