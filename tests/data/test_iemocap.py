import os
import pickle

import pytest

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.readers import iemocap
from dtrm_jax.errors import InputError


def content():
    """The published structure, with other numbers of conversations in every split."""
    speakers = {"b": ["M", "F", "M"], "a": ["F"], "c": ["M", "F"], "d": ["F"], "e": ["F"], "f": ["M"]}
    labels = {"b": [0, 1, 2], "a": [3], "c": [4, 5], "d": [0], "e": [0], "f": [0]}
    sentences = {id: [f"{id} says {n}." for n in range(len(turns))] for id, turns in speakers.items()}
    train, test, valid = ["b", "a", "c"], ["d"], ["f", "e"]
    return [speakers, labels, sentences, train, test, valid]


def write(folder, value):
    (folder / "iemocap.pkl").write_bytes(pickle.dumps(value, 4))
    return folder


def fails(folder) -> str:
    with pytest.raises(InputError) as caught:
        iemocap.read(folder)
    message = str(caught.value)
    assert str(folder / "iemocap.pkl") in message and "\n" not in message
    return message


def test_reads_the_published_layout_from_folder_or_file(tmp_path):
    dataset = iemocap.read(write(tmp_path, content()))
    assert dataset == iemocap.read(tmp_path / "iemocap.pkl")
    assert dataset.name == "iemocap"
    assert dataset.labels == iemocap.LABELS
    assert list(dataset.splits) == ["train", "dev", "test"]
    ids = {split: [conversation.id for conversation in ones] for split, ones in dataset.splits.items()}
    assert ids == {"train": ["a", "b", "c"], "dev": ["e", "f"], "test": ["d"]}
    assert dataset.splits["train"][1] == Conversation(
        "b",
        (
            Turn("0", "M", "b says 0.", label="happy"),
            Turn("1", "F", "b says 1.", label="sad"),
            Turn("2", "M", "b says 2.", label="neutral"),
        ),
    )
    labels = [turn.label for conversation in dataset.splits["train"] for turn in conversation.turns]
    assert labels == ["angry", "happy", "sad", "neutral", "excited", "frustrated"]


SPEAKERS, LABELS, SENTENCES, TRAIN, TEST, VALID = range(6)


def change(field, *path):
    """Returns a function that sets ``value[field][path[0]]... = path[-1]`` in the content."""

    def apply(value):
        *keys, last, new = (field, *path)
        for key in keys:
            value = value[key]
        value[last] = new

    return apply


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            change(SPEAKERS, ["b"]),
            "speakers, field 1 of 6 as in COSMIC's transcripts: expected a dict of conv",
        ),
        (
            change(TRAIN, {"b": 1}),
            "train, field 4 of 6 as in COSMIC's transcripts: expected a list of convers",
        ),
        (change(VALID, []), "expected valid to hold at least one conversation id"),
        (change(TEST, [5.0]), "expected a list of conversation ids, found list of float"),
        (change(TEST, ["\ud800"]), "expected test to hold at least one conversation id, and no empty one"),
        (change(TEST, ["d", "nobody"]), "'nobody': expected speakers to be a list"),
        (change(TEST, ["b", "d"]), "'b': listed in train and again in test"),
        (change(TRAIN, ["a", "a", "b", "c"]), "'a': listed in train and again in train"),
        (change(TRAIN, ["a", "b"]), "'c': in speakers but in no split"),
        (change(LABELS, "extra", [1]), "'extra': in labels but in no split"),
        (change(SENTENCES, "b", ["one", "two"]), "'b': expected one value of each for every turn, found 3 speakers"),
        (change(LABELS, "b", [0, 1]), "2 labels"),
        (change(SPEAKERS, "a", []), "'a': expected one value"),
        (lambda value: [value[field].update(a=[]) for field in (SPEAKERS, LABELS, SENTENCES)], "found 0 speakers"),
        (change(SENTENCES, "b", "abc"), "'b': expected sentences to be a list"),
        (lambda value: value[LABELS].pop("b"), "'b': expected labels to be a list"),
        (change(LABELS, "b", 1, 6), "'b', turn 1: expected a label from 0 to 5, found 6"),
        (change(LABELS, "b", 1, -1), "found -1"),
        (change(LABELS, "b", 1, True), "'b', turn 1: expected a finite number as label, found bool"),
        (change(LABELS, "b", 1, 1.0), "'b', turn 1: expected a label from 0 to 5, found 1.0"),
        (change(SENTENCES, "b", 2, " \n"), "'b', turn 2: sentence is empty"),
        (change(SENTENCES, "b", 2, "\ud83d"), "'b', turn 2: sentence is empty or not valid Unicode"),
        (change(SPEAKERS, "b", 2, ""), "'b', turn 2: speaker is empty"),
        (change(SPEAKERS, "b", 2, 1.5), "'b', turn 2: speaker is empty or neither a name nor"),
    ],
)
def test_every_damage_names_its_conversation(tmp_path, damage, words):
    value = content()
    damage(value)
    assert words in fails(write(tmp_path, value))


@pytest.mark.parametrize("value", [content()[:5], {"speakers": 1}, "text", 5, None, []])
def test_another_structure_is_described(tmp_path, value):
    message = fails(write(tmp_path, value))
    assert "a list of 6 (speakers, labels, sentences, train, test, valid)" in message
    if type(value) is list:
        assert f"found a list of {len(value)}" in message


def test_a_structure_of_a_known_length_is_described_by_the_field_that_does_not_fit(tmp_path):
    message = fails(write(tmp_path, [*content(), {}]))
    assert "sentences, field 4 of 7 as in COSMIC's transcripts of MELD: expected a dict of conver" in message
    assert message.endswith("found list of str")


def test_a_missing_file_is_named(tmp_path):
    for source in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"no pickle found, expected iemocap\.pkl of conv-emotion's COSMIC or"):
            iemocap.files(source)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def test_a_hostile_file_is_refused_unexecuted(tmp_path):
    marker = tmp_path / "marker"
    value = content()
    value[SENTENCES]["b"][0] = Payload(marker)
    assert "system" in fails(write(tmp_path, value))
    assert not marker.exists()


def sessions():
    """A dialogue of every session but the fourth, with all six labels; the files' own splits mix them."""
    ids = ["Ses01F_impro01", "Ses02M_script01_1", "Ses03F_impro02", "Ses05M_impro01", "Ses05F_impro03"]
    speakers = {id: ["M", "F", "M", "F", "M", "F"] for id in ids}
    labels = {id: [0, 1, 2, 3, 4, 5] for id in ids}
    sentences = {id: [f"{id} says {n}." for n in range(6)] for id in ids}
    return [speakers, labels, sentences, ids[:3], ids[3:4], ids[4:]]


@pytest.mark.parametrize(
    ("labels", "excited", "note"),
    [
        ("four", "happy", "excited counts as happy, the 5 turns that are frustrated are context alone"),
        ("four_without_excited", None, "the 10 turns that are excited or frustrated are context alone"),
    ],
)
def test_four_classes_keep_the_conversations_whole(tmp_path, labels, excited, note):
    whole = iemocap.read(write(tmp_path, sessions()))
    dataset = iemocap.read(tmp_path, labels=labels)
    assert dataset.labels.names == ("happy", "sad", "neutral", "angry")
    assert dataset.notes == (f"iemocap: 4 classes; {note}",)
    for split, conversations in whole.splits.items():
        for one, changed in zip(conversations, dataset.splits[split], strict=True):
            assert [turn.text for turn in one.turns] == [turn.text for turn in changed.turns]
            assert [turn.label for turn in changed.turns] == ["happy", "sad", "neutral", "angry", excited, None]
    with pytest.raises(InputError, match=r"config\.data\.labels: expected one of four, four_without_excited, empty"):
        iemocap.read(tmp_path, labels="five")


def test_one_session_is_left_out(tmp_path):
    write(tmp_path, sessions())
    for session, expected in {1: ["Ses01F_impro01"], 5: ["Ses05F_impro03", "Ses05M_impro01"]}.items():
        dataset = iemocap.read(tmp_path, test_session=session)
        ids = {split: [conversation.id for conversation in ones] for split, ones in dataset.splits.items()}
        assert list(ids) == ["train", "test"] and ids["test"] == expected
        assert sorted(ids["train"] + ids["test"]) == sorted(sessions()[0])
        assert dataset.notes == (f"iemocap: session {session} is the test split, the others are for training and dev",)
    assert "expected session 4 and others, found none" in fails_to_leave_out(tmp_path, 4)
    write(tmp_path, content())
    assert "conversation 'a': config.data.test_session needs ids that begin with the session" in fails_to_leave_out(
        tmp_path, 1
    )


def fails_to_leave_out(folder, session) -> str:
    with pytest.raises(InputError) as caught:
        iemocap.read(folder, test_session=session)
    return str(caught.value)
