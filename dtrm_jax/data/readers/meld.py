"""MELD, the Multimodal EmotionLines Dataset, from its three CSV files (declare-lab/MELD, ``data/MELD``)."""

import pathlib
import re

from dtrm_jax.conversation import MELD_LABELS, Conversation, Dataset, Turn
from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError

FILES = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")

_ID = re.compile(r"\d{1,9}", re.ASCII)
# Older copies carry bytes of Windows-1252 (curly quotes, dashes) as the control characters of the same number.
_REPAIR = {
    byte: character for byte in range(0x80, 0xA0) if (character := bytes([byte]).decode("cp1252", errors="ignore"))
}


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: One of them is missing.
    """
    missing = [name for name in FILES.values() if not (source / name).is_file()]
    if missing:
        raise InputError(
            f"{source}: {', '.join(missing)} not found, expected a folder with {', '.join(FILES.values())}"
        )
    return tuple(source / name for name in FILES.values())


def read(source: pathlib.Path) -> Dataset:
    """Reads MELD's conversations, in ascending order of their ids in each split.

    A conversation is named by its Dialogue_ID (unique in its split only), a turn by its Utterance_ID. Turns are in the
    order of Utterance_ID, which may have gaps. Control characters left by a wrong decoding of Windows-1252 are
    repaired.

    Args:
        source: The folder of ``train_sent_emo.csv``, ``dev_sent_emo.csv`` and ``test_sent_emo.csv``.

    Raises:
        InputError: A file is missing or cannot be read, or a row is malformed; names the file and the line.
    """
    paths = dict(zip(FILES, files(source), strict=True))
    return Dataset("meld", MELD_LABELS, {split: _read_split(path) for split, path in paths.items()})


def _read_split(path: pathlib.Path) -> tuple[Conversation, ...]:
    dialogues: dict[int, dict[int, Turn]] = {}
    for line, row in csv_file.rows(path, COLUMNS):
        dialogue, utterance = (_id(path, line, row, column) for column in ("Dialogue_ID", "Utterance_ID"))
        turns = dialogues.setdefault(dialogue, {})
        if utterance in turns:
            raise InputError(f"{path}, line {line}: dialogue {dialogue} has utterance {utterance} twice")
        turns[utterance] = _turn(path, line, row, utterance)
    if not dialogues:
        raise InputError(f"{path}: expected a header and utterances, found none")
    return tuple(
        Conversation(str(dialogue), tuple(turns[utterance] for utterance in sorted(turns)))
        for dialogue, turns in sorted(dialogues.items())
    )


def _id(path: pathlib.Path, line: int, row: dict[str, str], column: str) -> int:
    value = row[column].strip()
    if not _ID.fullmatch(value):
        raise InputError(f"{path}, line {line}: expected a whole number as {column}, found {value[:40]!r}")
    return int(value)


def _turn(path: pathlib.Path, line: int, row: dict[str, str], utterance: int) -> Turn:
    text, speaker = (row[column].translate(_REPAIR) for column in ("Utterance", "Speaker"))
    for column, value in (("Utterance", text), ("Speaker", speaker)):
        if not value.strip():
            raise InputError(f"{path}, line {line}: {column} is empty")
    emotion = row["Emotion"].strip().lower()
    if emotion not in MELD_LABELS.names:
        expected = ", ".join(MELD_LABELS.names)
        raise InputError(f"{path}, line {line}: expected an Emotion of {expected}, found {emotion[:40]!r}")
    return Turn(str(utterance), speaker.strip(), text, emotion)
