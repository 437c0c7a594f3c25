"""EmoryNLP (Zahiri and Choi, 2018): scenes of the series Friends, from the authors' json files or the field's csv.

The json files (emorynlp/emotion-detection) hold episodes, their scenes and their utterances. The csv files
(declare-lab) have one row per utterance, with a list of speakers written as text. A scene is a conversation.

An utterance may have several speakers, who count as one of their own, or none, who is ``UNKNOWN``. Some loaders of the
field take everyone for one speaker, so that the model cannot tell who is meant by the context; this one does not.
"""

import ast
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError, chosen
from dtrm_jax.json_file import parse_json

LABELS = LabelSpace(("neutral", "joyful", "peaceful", "powerful", "scared", "mad", "sad"))
SENTIMENTS = LabelSpace(("neutral", "positive", "negative"))
_SENTIMENT_OF = {
    "neutral": "neutral",
    **dict.fromkeys(("joyful", "peaceful", "powerful"), "positive"),
    **dict.fromkeys(("scared", "mad", "sad"), "negative"),
}
# data.labels -> the classes, and the class of each emotion.
ANNOTATIONS = {
    "": (LABELS, {name: name for name in LABELS.names}),
    "sentiment": (SENTIMENTS, _SENTIMENT_OF),
}
JSON = {
    "train": "emotion-detection-trn.json",
    "dev": "emotion-detection-dev.json",
    "test": "emotion-detection-tst.json",
}
CSV = {split: f"emorynlp_{split}_final.csv" for split in JSON}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode")
UNKNOWN = "unknown"


class _Utterance(NamedTuple):
    where: str
    scene: str
    id: str
    speakers: list[str]
    text: str
    emotion: str


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads.

    Raises:
        InputError: The three files of one kind are not all there.
    """
    for names in (JSON, CSV):
        found = tuple(source / name for name in names.values())
        if all(path.is_file() for path in found):
            return found
    raise InputError(f"{source}: expected {', '.join(JSON.values())} (or {', '.join(CSV.values())}), not all are there")


def read(source: pathlib.Path, *, labels: str = "") -> Dataset:
    """Reads EmoryNLP's scenes in the order of the files.

    Args:
        source: The folder of the three files.
        labels: ``sentiment`` (joyful, peaceful and powerful are positive, scared, mad and sad negative), or empty for
            the seven emotions.

    Raises:
        InputError: A file is missing or malformed; names the utterance.
    """
    space, class_of = chosen(ANNOTATIONS, labels, "config.data.labels")
    splits, speechless, nobody = {}, 0, 0
    for split, path in zip(JSON, files(source), strict=True):
        scenes: dict[str, dict[str, Turn]] = {}
        for one in _of_json(path) if path.suffix == ".json" else _of_csv(path):
            turns = scenes.setdefault(one.scene, {})
            if one.id in turns:
                raise InputError(f"{one.where}: scene {one.scene} has utterance {one.id} twice")
            turns[one.id] = _turn(one, class_of)
            speechless += not one.text.strip()
            nobody += not one.speakers
        if not scenes:
            raise InputError(f"{path}: expected utterances, found none")
        splits[split] = tuple(Conversation(scene, tuple(turns.values())) for scene, turns in scenes.items())
    notes = [f"emorynlp: {nobody} turns name no speaker and are by {UNKNOWN!r}"] if nobody else []
    notes += [f"emorynlp: {speechless} turns have no text"] if speechless else []
    return Dataset("emorynlp", space, splits, notes=tuple(notes))


def _turn(one: _Utterance, class_of: dict[str, str]) -> Turn:
    emotion = one.emotion.strip().lower()
    if emotion not in class_of:
        raise InputError(f"{one.where}: expected an emotion of {', '.join(class_of)}, found {one.emotion[:40]!r}")
    return Turn(one.id, " and ".join(sorted(one.speakers)) or UNKNOWN, one.text, label=class_of[emotion])


def _of_json(path: pathlib.Path) -> Iterator[_Utterance]:
    text = csv_file.read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    for episode in _list(f"{path}", content, "episodes"):
        for scene in _list(f"{path}, an episode", episode, "scenes"):
            name = scene.get("scene_id") if isinstance(scene, dict) else None
            for utterance in _list(f"{path}, scene {name}", scene, "utterances"):
                yield _checked(path, utterance, name)


def _list(where: str, value: Any, name: str) -> list[Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise InputError(f"{where}: expected a list {name}, found {type(found).__name__}")
    return found


def _checked(path: pathlib.Path, utterance: Any, scene: Any) -> _Utterance:
    names = ("utterance_id", "transcript", "emotion")
    own = utterance if isinstance(utterance, dict) else {}
    where = f"{path}, utterance {str(own.get('utterance_id'))[:40]}"
    texts = [own.get(name) for name in names]
    if not all(isinstance(value, str) for value in (*texts, scene)) or not _are_names(own.get("speakers")):
        raise InputError(f"{where}: expected texts as scene_id, {', '.join(names)}, and a list of texts as speakers")
    id, text, emotion = texts
    return _Utterance(where, scene, id.removeprefix(f"{scene}_"), own["speakers"], text, emotion)


def _of_csv(path: pathlib.Path) -> Iterator[_Utterance]:
    for line, row in csv_file.rows(path, COLUMNS):
        where = f"{path}, line {line}"
        season, episode, scene, id = (row[name].strip() for name in ("Season", "Episode", "Scene_ID", "Utterance_ID"))
        if not all(part.isdecimal() and len(part) < 10 for part in (season, episode, scene, id)):
            raise InputError(f"{where}: expected whole numbers as Season, Episode, Scene_ID and Utterance_ID")
        # As the json files name them, so that both give the same conversations.
        name = f"s{int(season):02}_e{int(episode):02}_c{int(scene):02}"
        speakers = _speakers(where, row["Speaker"])
        yield _Utterance(where, name, f"u{int(id):03}", speakers, row["Utterance"], row["Emotion"])


def _speakers(where: str, written: str) -> list[str]:
    """Reads ``['Ann', 'Bob']``; literals alone are evaluated."""
    try:
        names = ast.literal_eval(written.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        names = None
    if not _are_names(names):
        raise InputError(f"{where}: expected a list of names as Speaker, such as ['Ann'], found {written[:40]!r}")
    return names


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name.strip() for name in value)
