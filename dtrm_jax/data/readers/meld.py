"""MELD, the Multimodal EmotionLines Dataset: its three CSV files, and features from any of the field's pickles.

With the CSV files (declare-lab/MELD, ``data/MELD``) their text, labels and splits are used, and the features of pickles
in the folder are joined to them: by the number that the dialogue has over all splits (train as in the CSV file, dev
from 1039, test from 1153 on), or, for the authors' own pickles, by split, dialogue and utterance. A feature file
alone brings its own transcripts.

Each turn of the CSV files has an emotion and a sentiment; ``data.labels`` chooses. The dyadic variant
(``data/MELD_Dyadic``) has files of its own, in which a stretch between two speakers is a conversation.
"""

import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from dtrm_jax import safe_pickle
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data import download as official
from dtrm_jax.data.readers import csv_file, feature_files, joining
from dtrm_jax.data.readers.feature_files import PickledCorpus
from dtrm_jax.data.readers.feature_layouts import is_vector
from dtrm_jax.errors import InputError, chosen

LABELS = LabelSpace(("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"))
SENTIMENTS = LabelSpace(("neutral", "positive", "negative"))
# data.labels -> the column of the CSV files and its classes.
ANNOTATIONS = {"": ("Emotion", LABELS), "sentiment": ("Sentiment", SENTIMENTS)}
FILES = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
DYADIC = {split: name.replace(".csv", "_dya.csv") for split, name in FILES.items()}
COLUMNS = ("Utterance", "Speaker", "Dialogue_ID", "Utterance_ID")
# The number that the field's pickles add to the Dialogue_ID of each split.
OFFSETS = {"train": 0, "dev": 1039, "test": 1153}

_ID = re.compile(r"\d{1,9}", re.ASCII)
_UTTERANCE_KEY = re.compile(r"(\d{1,9})_(\d{1,9})", re.ASCII)
# Older copies carry bytes of Windows-1252 (curly quotes, dashes) as the control characters of the same number.
_REPAIR = {
    byte: character for byte in range(0x80, 0xA0) if (character := bytes([byte]).decode("cp1252", errors="ignore"))
}
# The features that the authors' own vectors are, by the start of the file name.
_AUTHORS = {"audio": "acoustic", "text": "utterance"}


def download(folder: pathlib.Path) -> pathlib.Path:
    """Downloads the three CSV files into ``folder``, once, and returns it; see ``download.download_meld``."""
    return official.download_meld(folder)


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: A CSV file is missing, there is neither a CSV file nor a pickle, or pickles lie beside the dyadic
            variant, whose conversations are others.
    """
    pickled = feature_files.candidates(source)
    dyadic = [source / name for name in DYADIC.values() if (source / name).is_file()]
    missing = [name for name in FILES.values() if not (source / name).is_file()]
    if len(missing) == len(FILES) and len(dyadic) == len(DYADIC):
        if pickled:
            raise InputError(f"{pickled[0]}: feature files belong to MELD's own dialogues, not to the dyadic variant")
        return tuple(dyadic)
    if len(missing) == len(FILES) and pickled:
        return pickled
    if dyadic and len(missing) < len(FILES):
        raise InputError(f"{source}: expected one variant of MELD, found files of both, such as {dyadic[0].name}")
    if missing:
        raise InputError(
            f"{source}: {', '.join(missing)} not found, expected a folder with {', '.join(FILES.values())} (or the "
            "same with _dya)"
        )
    return (*(source / name for name in FILES.values()), *pickled)


def read(source: pathlib.Path, *, labels: str = "") -> Dataset:
    """Reads MELD's conversations, in ascending order of their ids in each split.

    A conversation of the CSV files is named by its Dialogue_ID (unique in its split only), a turn by its Utterance_ID.
    Turns are in the order of Utterance_ID, which may have gaps. Control characters left by a wrong decoding of
    Windows-1252 are repaired.

    Args:
        source: The folder of ``train_sent_emo.csv``, ``dev_sent_emo.csv``, ``test_sent_emo.csv`` and feature files, or
            of feature files, or one feature file.
        labels: ``sentiment`` (neutral, positive, negative), or empty for the seven emotions.

    Raises:
        InputError: A file is missing or cannot be read, does not fit the others, or a row is malformed; names the file
            and the line or conversation.
    """
    column, space = chosen(ANNOTATIONS, labels, "config.data.labels")
    paths = files(source)
    pickled = {path: safe_pickle.load(path) for path in paths if path.suffix in feature_files.SUFFIXES}
    by_utterance = {path: content for path, content in pickled.items() if _is_by_utterance(content)}
    corpora = [feature_files.parse(path, content) for path, content in pickled.items() if path not in by_utterance]
    tables = [path for path in paths if path.suffix == ".csv" and path != source]
    if not tables:
        if labels:
            raise InputError(f"config.data.labels: {labels} needs MELD's CSV files; {source} has feature files alone")
        return _without_csv(source, corpora)
    splits = {split: _read_split(path, column, space) for split, path in zip(FILES, tables, strict=True)}
    if not pickled:
        dyadic = tables[0].name == DYADIC["train"]
        note = "meld: the dyadic variant, in which a turn may be in several conversations"
        return Dataset("meld", space, splits, notes=(note,) if dyadic else ())
    joined = {
        (split, conversation.id): str(int(conversation.id) + OFFSETS[split])
        for split, conversations in splits.items()
        for conversation in conversations
    }
    flat = {joined[split, c.id]: c for split, conversations in splits.items() for c in conversations}
    flat = joining.with_features(flat, corpora, None if labels else LABELS)  # the files' labels are emotions
    splits = {split: tuple(flat[joined[split, c.id]] for c in conversations) for split, conversations in splits.items()}
    for path, content in by_utterance.items():
        splits = _with_utterance_vectors(path, content, splits)
    return Dataset("meld", space, splits)


def _without_csv(source: pathlib.Path, corpora: list[PickledCorpus]) -> Dataset:
    """Reads transcripts, labels and splits from a feature file too."""
    if not corpora:
        raise InputError(f"{source}: expected {', '.join(FILES.values())} beside the vectors by utterance")
    conversations, listed = joining.transcribed(corpora, LABELS)
    conversations = {id: _repaired(conversation) for id, conversation in conversations.items()}
    splits = {split: tuple(conversations[id] for id in ids) for split, ids in _official(listed).items()}
    return Dataset("meld", LABELS, splits)


def _official(splits: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Separates the dev split where a file has merged it into train and its ids are MELD's own."""
    ids = {split: [feature_files.whole_number(id) for id in names] for split, names in splits.items()}
    numbered = not any(id is None for names in ids.values() for id in names)
    if "dev" in splits or not numbered or not (max(ids["train"]) < OFFSETS["test"] <= min(ids["test"])):
        return splits
    train, dev = (
        tuple(id for id in splits["train"] if (int(id) >= OFFSETS["dev"]) == later) for later in (False, True)
    )
    return {"train": train, "dev": dev, "test": splits["test"]} if train and dev else splits


def _repaired(conversation: Conversation) -> Conversation:
    turns = (dataclasses.replace(turn, text=turn.text.translate(_REPAIR)) for turn in conversation.turns)
    return dataclasses.replace(conversation, turns=tuple(turns))


def _is_by_utterance(content: Any) -> bool:
    """Whether a pickle is one of the authors' own: a dict ``dialogue_utterance`` -> vector for each split."""
    if type(content) not in (list, tuple) or len(content) != len(FILES):
        return False
    return all(
        type(part) is dict and all(type(key) is str and _UTTERANCE_KEY.fullmatch(key) for key in part)
        for part in content
    )


def _with_utterance_vectors(
    path: pathlib.Path, content: Any, splits: dict[str, tuple[Conversation, ...]]
) -> dict[str, tuple[Conversation, ...]]:
    """Joins the authors' own vectors, in the order train, dev, test; an utterance that is not there lacks the modality.

    The content does not say of which modality they are: the name does, ``audio...`` or ``text...``.
    """
    feature = next((name for start, name in _AUTHORS.items() if path.name.startswith(start)), None)
    if feature is None:
        raise InputError(f"{path}: expected a name that starts with {' or '.join(_AUTHORS)}, which says what it holds")
    size, result = None, {}
    for (split, conversations), vectors in zip(splits.items(), content, strict=True):
        known = {f"{c.id}_{turn.id}" for c in conversations for turn in c.turns}
        result[split] = {}
        for key, vector in vectors.items():
            where = f"{path}, {split} utterance {key}"
            if key not in known:
                raise InputError(f"{where}: the CSV file has no such utterance")
            if not is_vector(vector) or size not in (None, len(vector)):
                raise InputError(f"{where}: expected {size or 'a vector of'} numbers, found {_described(vector)}")
            size = len(vector)
            result[split][key] = _in_single_precision(vector)
            if not np.isfinite(result[split][key]).all():
                raise InputError(f"{where}: expected {size} finite numbers, found others among them")
    if size is None:
        raise InputError(f"{path}: expected vectors, found none")
    return {
        split: tuple(_with_vectors(path, c, feature, result[split], size) for c in conversations)
        for split, conversations in splits.items()
    }


def _in_single_precision(vector: Any) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is then not finite is refused
        return np.asarray(vector, np.float64).astype(np.float32)


def _described(vector: Any) -> str:
    return f"{len(vector)}" if is_vector(vector) else type(vector).__name__


def _with_vectors(
    path: pathlib.Path, conversation: Conversation, feature: str, vectors: dict[str, np.ndarray], size: int
) -> Conversation:
    if feature in conversation.features:
        raise InputError(f"{path}: another file of the folder has {feature} features too; leave one of them out")
    absent = np.full(size, np.nan)
    rows = [vectors.get(f"{conversation.id}_{turn.id}", absent) for turn in conversation.turns]
    features = {**conversation.features, feature: np.array(rows, np.float32)}
    return dataclasses.replace(conversation, features=features)


def _read_split(path: pathlib.Path, column: str, labels: LabelSpace) -> tuple[Conversation, ...]:
    dialogues: dict[int, dict[int, Turn]] = {}
    for line, row in csv_file.rows(path, (*COLUMNS, column)):
        dialogue, utterance = (_id(path, line, row, name) for name in ("Dialogue_ID", "Utterance_ID"))
        turns = dialogues.setdefault(dialogue, {})
        if utterance in turns:
            raise InputError(f"{path}, line {line}: dialogue {dialogue} has utterance {utterance} twice")
        label = _label(path, line, row[column], column, labels)
        turns[utterance] = _turn(path, line, row, utterance, label)
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


def _turn(path: pathlib.Path, line: int, row: dict[str, str], utterance: int, label: str) -> Turn:
    text, speaker = (row[column].translate(_REPAIR) for column in ("Utterance", "Speaker"))
    for column, value in (("Utterance", text), ("Speaker", speaker)):
        if not value.strip():
            raise InputError(f"{path}, line {line}: {column} is empty")
    return Turn(str(utterance), speaker.strip(), text, label=label)


def _label(path: pathlib.Path, line: int, value: str, column: str, labels: LabelSpace) -> str:
    label = value.strip().lower()
    if label not in labels.names:
        expected = ", ".join(labels.names)
        raise InputError(f"{path}, line {line}: expected {column} to be one of {expected}, found {label[:40]!r}")
    return label
