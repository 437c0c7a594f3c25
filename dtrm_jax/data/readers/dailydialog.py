"""DailyDialog (Li et al., 2017): daily conversations of two people who take turns, from the authors' text files.

There is one folder per split: ``<split>/dialogues_<split>.txt`` has a conversation on every line, its turns ended by
``__eou__``, and ``<split>/dialogues_emotion_<split>.txt`` their emotions as numbers. Speakers have no names.

A pickle in COSMIC's layout (``dailydialog_features_roberta.pkl``) is read in their place.
"""

import pathlib
from collections.abc import Iterator

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data.readers import csv_file, feature_files, joining
from dtrm_jax.errors import InputError

# The files' numbers in order; 0 is "no emotion" in the authors' words.
LABELS = LabelSpace(("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise"))
SPLITS = {"train": "train", "validation": "dev", "test": "test"}
END = "__eou__"


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: A text file is missing, and there is no pickle.
    """
    texts = [path for split in SPLITS for path in _pair(source, split)]
    missing = [path for path in texts if not path.is_file()]
    if missing and (pickled := feature_files.candidates(source)):
        return pickled
    if missing:
        raise InputError(f"{source}: expected the folders {', '.join(SPLITS)} with their files, {missing[0]} not found")
    return tuple(texts)


def read(source: pathlib.Path) -> Dataset:
    """Reads DailyDialog's conversations in the order of the files; a conversation is named by its line.

    Args:
        source: The folder of ``train``, ``validation`` and ``test``, or of a pickle.

    Raises:
        InputError: A file is missing or malformed; names the line.
    """
    paths = files(source)
    if paths[0].suffix in feature_files.SUFFIXES:
        conversations, ids = joining.transcribed([feature_files.read(path) for path in paths], LABELS)
        splits = {split: tuple(conversations[id] for id in names) for split, names in ids.items()}
        return Dataset("dailydialog", LABELS, splits)
    splits = {name: tuple(_conversations(*_pair(source, split))) for split, name in SPLITS.items()}
    return Dataset("dailydialog", LABELS, splits)


def _pair(source: pathlib.Path, split: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the files of texts and of emotions; the archives unpack into a folder in the folder."""
    folder = source / split
    folder = folder / split if (folder / split).is_dir() else folder
    return folder / f"dialogues_{split}.txt", folder / f"dialogues_emotion_{split}.txt"


def _conversations(text_file: pathlib.Path, emotion_file: pathlib.Path) -> Iterator[Conversation]:
    texts, emotions = (csv_file.read_text(path).rstrip().split("\n") for path in (text_file, emotion_file))
    if len(texts) != len(emotions):
        raise InputError(f"{emotion_file}: expected {len(texts)} lines, as in {text_file.name}, found {len(emotions)}")
    for line, (written, numbers) in enumerate(zip(texts, emotions, strict=True), start=1):
        *utterances, rest = written.split(END)
        labels = numbers.split()
        if not utterances or rest.strip() or not all(map(str.strip, utterances)):
            raise InputError(f"{text_file}, line {line}: expected turns, each with a text and ended by {END}")
        if len(utterances) != len(labels) or not set(labels) <= set("0123456"):
            raise InputError(
                f"{emotion_file}, line {line}: expected {len(utterances)} emotions from 0 to 6, found {numbers[:40]!r}"
            )
        turns = (
            Turn(id=str(index + 1), speaker="AB"[index % 2], text=text.strip(), label=LABELS.names[int(label)])
            for index, (text, label) in enumerate(zip(utterances, labels, strict=True))
        )
        yield Conversation(str(line), tuple(turns))
