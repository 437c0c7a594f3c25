"""MELD, the Multimodal EmotionLines Dataset: its three CSV files, and features from any of the field's pickles.

With the CSV files (declare-lab/MELD, ``data/MELD``) their text, labels and splits are used, and the features of pickles
in the folder are joined to them: by the number that the dialogue has over all splits (train as in the CSV file, dev
from 1039, test from 1153 on), or, for files of vectors by utterance, such as the authors' own pickles, by split,
dialogue and utterance. A feature file alone brings its own transcripts.

Each turn of the CSV files has an emotion and a sentiment; ``data.labels`` chooses. The dyadic variant
(``data/MELD_Dyadic``) has files of its own, in which a stretch between two speakers is a conversation.
"""

import dataclasses
import pathlib
import re

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data import download as official
from dtrm_jax.data.readers import by_utterance, csv_file, feature_files, joining, utterance_vectors
from dtrm_jax.data.readers.feature_files import PickledCorpus
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
# The clip of an utterance, as files by utterance call it: 0_7, dia0_utt7, train_dia0_utt7, train_splits/dia0_utt7.mp4.
_CLIP = re.compile(
    r"(?:(?:output_repeated_splits_)?(?P<split>train|dev|val|valid|validation|test)(?:_splits?(?:_complete)?)?[_/\\-])?"
    r"(?:dia)?(?P<dialogue>\d{1,9})_(?:utt)?(?P<utterance>\d{1,9})(?:\.\w{2,4})?",
    re.ASCII | re.IGNORECASE,
)
# Older copies carry bytes of Windows-1252 (curly quotes, dashes) as the control characters of the same number.
_REPAIR = {
    byte: character for byte in range(0x80, 0xA0) if (character := bytes([byte]).decode("cp1252", errors="ignore"))
}


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
    vectors = utterance_vectors.candidates(source)
    dyadic = [source / name for name in DYADIC.values() if (source / name).is_file()]
    missing = [name for name in FILES.values() if not (source / name).is_file()]
    if len(missing) == len(FILES) and len(dyadic) == len(DYADIC):
        for path in (*pickled, *vectors):
            raise InputError(f"{path}: feature files belong to MELD's own dialogues, not to the dyadic variant")
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
    return (*(source / name for name in FILES.values()), *pickled, *vectors)


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
    pickled = [path for path in paths if path.suffix in feature_files.SUFFIXES]
    corpora, vectors = joining.read(pickled)
    tables = [path for path in paths if path.name in (*FILES.values(), *DYADIC.values()) and path != source]
    if not tables:
        if labels:
            raise InputError(f"config.data.labels: {labels} needs MELD's CSV files; {source} has feature files alone")
        return _without_csv(source, corpora)
    vectors += [utterance_vectors.read(path) for path in paths if path not in (*tables, *pickled)]
    splits = {split: _read_split(path, column, space) for split, path in zip(FILES, tables, strict=True)}
    if tables[0].name == DYADIC["train"]:
        note = "meld: the dyadic variant, in which a turn may be in several conversations"
        return Dataset("meld", space, splits, notes=(note,))
    if corpora:
        splits = _with_features(splits, corpora, None if labels else LABELS)  # the files' labels are emotions
    splits, notes = by_utterance.with_vectors(splits, vectors, turn_of=_turn_of, name_of=_name_of)
    return Dataset("meld", space, splits, notes=tuple(notes))


def _with_features(
    splits: dict[str, tuple[Conversation, ...]], corpora: list[PickledCorpus], labels: LabelSpace | None
) -> dict[str, tuple[Conversation, ...]]:
    """Joins the features of files by the numbers that dialogues have over all splits."""
    joined = {
        (split, conversation.id): str(int(conversation.id) + OFFSETS[split])
        for split, conversations in splits.items()
        for conversation in conversations
    }
    flat = {joined[split, c.id]: c for split, conversations in splits.items() for c in conversations}
    flat = joining.with_features(flat, corpora, labels)
    return {split: tuple(flat[joined[split, c.id]] for c in conversations) for split, conversations in splits.items()}


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


def _turn_of(split: str, clip: str) -> str | None:
    """Returns the turn of a clip of a file by utterance, as ``_name_of`` calls it; None for another name."""
    found = _CLIP.fullmatch(clip.strip())
    if found is None:
        return None
    said = utterance_vectors.SPLIT_NAMES.get((found["split"] or "").lower(), "")
    if split and said and split != said:
        raise ValueError(f"expected a clip of {split}, among which it is, found one of {said}")
    if not (split or said):
        raise ValueError("expected the split too, as in train_dia0_utt0, since dialogues of each split count from 0")
    return f"{split or said} {int(found['dialogue'])}_{int(found['utterance'])}"


def _name_of(split: str, conversation: Conversation, turn: Turn) -> str:
    return f"{split} {conversation.id}_{turn.id}"


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
