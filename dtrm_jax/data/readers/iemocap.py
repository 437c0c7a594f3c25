"""IEMOCAP: transcripts, speakers, labels, splits and features, from any of the field's pickles.

With COSMIC's ``iemocap.pkl`` (conv-emotion, ``COSMIC/feature-extraction``) its text and its split of 108, 12 and 31
conversations are used, and the features of other files in the folder are joined to it. A feature file alone brings its
own transcripts and its split of 120 and 31, without a dev split.

A file of IEMOCAP's own names of turns in the folder (``iemocap_turns``) ties clips to turns: features in tables or
``.npz`` files by utterance (``utterance_vectors``) are then joined, and a table of all turns brings back those that the
field leaves out, as context.

Studies of speech learn four classes, most of them with excited counted as happy, and leave out one of the five sessions
(ten speakers in pairs) at a time: ``data.labels`` and ``data.test_session``.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data.readers import by_utterance, feature_files, iemocap_turns, joining, utterance_vectors
from dtrm_jax.errors import InputError, chosen

LABELS = LabelSpace(("happy", "sad", "neutral", "angry", "excited", "frustrated"))
FOUR_LABELS = LabelSpace(("happy", "sad", "neutral", "angry"))
# data.labels -> the file's emotion -> the class; turns of other emotions are context alone. The field has both.
FOUR = {
    "four": {name: name for name in FOUR_LABELS.names} | {"excited": "happy"},
    "four_without_excited": {name: name for name in FOUR_LABELS.names},
}
FILE = "iemocap.pkl"

_SESSION = re.compile(r"Ses0([1-5])")
_CLIP = re.compile(r"([^/\\]+?)(?:\.\w{2,4})?$")


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
    return (*paths, *iemocap_turns.files(source), *utterance_vectors.candidates(source))


def read(source: pathlib.Path, *, labels: str = "", test_session: int = 0) -> Dataset:
    """Reads IEMOCAP's conversations, in ascending order of their ids in each split.

    Args:
        source: A pickle, or a folder of them and of what is joined to them.
        labels: ``four`` or ``four_without_excited``, see ``FOUR``; empty for the six classes.
        test_session: The session that is the test split; all others are for training, without a dev split. 0 for the
            splits of the files.

    Raises:
        InputError: A file is missing, is no admitted pickle, has another structure or does not fit the others; names
            the conversation.
    """
    kept = chosen(FOUR | {"": {}}, labels, "config.data.labels")
    paths, beside = files(source), iemocap_turns.files(source)
    pickled = [path for path in paths if path.suffix in feature_files.SUFFIXES]
    corpora, vectors = joining.read(pickled)
    vectors += [utterance_vectors.read(path) for path in paths if path not in (*pickled, *beside)]
    if not corpora:
        raise InputError(f"{source}: expected {FILE} beside the features by utterance")
    if vectors and not beside:
        names = f"the names of turns beside it, {iemocap_turns.NAMES}"
        raise InputError(f"{vectors[0].path}: needs {names}, as {corpora[0].path.name} has none")
    conversations, ids = joining.transcribed(corpora, LABELS)
    conversations, notes = _as_named(conversations, beside)
    splits = {split: tuple(conversations[id] for id in names) for split, names in ids.items()}
    splits, joined = by_utterance.with_vectors(splits, vectors, turn_of=_turn_of, name_of=_name_of)
    dataset = Dataset("iemocap", LABELS, splits, notes=(*notes, *joined))
    dataset = _leave_out(dataset, source, test_session) if test_session else dataset
    return _with_classes(dataset, kept) if kept else dataset


def _as_named(
    conversations: dict[str, Conversation], beside: tuple[pathlib.Path, ...]
) -> tuple[dict[str, Conversation], list[str]]:
    """Gives turns IEMOCAP's own names, and adds those that are left out, if there are the files for it; says so."""
    notes: list[str] = []
    for path in beside:
        if path.suffix == ".json" and path.match(iemocap_turns.NAMES):
            conversations = iemocap_turns.named(path, conversations)
        else:
            conversations, said = iemocap_turns.with_all_turns(path, conversations)
            notes += [f"iemocap: {line}" for line in said]
    return conversations, notes


def _turn_of(split: str, clip: str) -> str | None:
    """Returns the turn of a clip, whose name may be that of a file: ``wav/Ses01F_impro01_F000.wav``."""
    found = _CLIP.search(clip.strip())
    return found[1] if found else None


def _name_of(split: str, conversation: Conversation, turn: Turn) -> str:
    return turn.id


def _leave_out(dataset: Dataset, source: pathlib.Path, session: int) -> Dataset:
    """Makes one session the test split and all others the training split; the ids of dialogues say their session."""
    splits: dict[str, list[Conversation]] = {"train": [], "test": []}
    everything = (conversation for split in dataset.splits.values() for conversation in split)
    for conversation in sorted(everything, key=lambda conversation: conversation.id):
        found = _SESSION.match(conversation.id)
        if not found:
            raise InputError(
                f"{source}, conversation {conversation.id[:40]!r}: config.data.test_session needs ids that begin with "
                "the session, as Ses01F_impro01"
            )
        splits["test" if int(found[1]) == session else "train"].append(conversation)
    if not all(splits.values()):
        raise InputError(f"{source}: config.data.test_session: expected session {session} and others, found none")
    note = f"iemocap: session {session} is the test split, the others are for training and dev"
    return dataclasses.replace(
        dataset, splits={name: tuple(split) for name, split in splits.items()}, notes=(*dataset.notes, note)
    )


def _with_classes(dataset: Dataset, kept: Mapping[str, str]) -> Dataset:
    """Names the emotions anew; turns of those that are not in ``kept`` lose their label and stay as context."""
    lost = 0
    splits = {}
    for split, conversations in dataset.splits.items():
        changed = []
        for conversation in conversations:
            turns = tuple(dataclasses.replace(turn, label=kept.get(turn.label or "")) for turn in conversation.turns)
            lost += sum(turn.label is not None and turn.label not in kept for turn in conversation.turns)
            changed.append(dataclasses.replace(conversation, turns=turns))
        splits[split] = tuple(changed)
    merged = [f"{name} counts as {other}" for name, other in kept.items() if name != other]
    gone = [name for name in LABELS.names if name not in kept]
    parts = [*merged, f"the {lost} turns that are {' or '.join(gone)} are context alone"]
    note = f"iemocap: {len(FOUR_LABELS)} classes; {', '.join(parts)}"
    return dataclasses.replace(dataset, labels=FOUR_LABELS, splits=splits, notes=(*dataset.notes, note))
