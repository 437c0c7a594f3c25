"""EmoryNLP's two kinds of files, and what they write about speakers."""

import csv
import json

import pytest

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.readers import emorynlp
from dtrm_jax.errors import InputError

SPOKEN = [
    ("s01_e15_c01", "u001", ["Ann Lee"], "Coffee.", "Neutral"),
    ("s01_e15_c01", "u002", ["Bob Ray"], 'Thanks, "dear".', "Joyful"),
    ("s01_e15_c01", "u004", ["Cal Poe", "Bob Ray"], "Ha!", "Mad"),
    ("s02_e03_c11", "u001", ["Ann Lee"], "No.", "Scared"),
]
EXPECTED = (
    Conversation(
        "s01_e15_c01",
        (
            Turn("u001", "Ann Lee", "Coffee.", label="neutral"),
            Turn("u002", "Bob Ray", 'Thanks, "dear".', label="joyful"),
            Turn("u004", "Bob Ray and Cal Poe", "Ha!", label="mad"),
        ),
    ),
    Conversation("s02_e03_c11", (Turn("u001", "Ann Lee", "No.", label="scared"),)),
)


def as_json(spoken):
    episodes = {}
    for scene, id, speakers, text, emotion in spoken:
        scenes = episodes.setdefault(scene.rpartition("_")[0], {})
        one = {"utterance_id": f"{scene}_{id}", "speakers": speakers, "transcript": text, "tokens": [["x"]]}
        scenes.setdefault(scene, []).append({**one, "emotion": emotion})
    return {
        "season_id": "dev",
        "episodes": [
            {
                "episode_id": episode,
                "scenes": [{"scene_id": scene, "utterances": utterances} for scene, utterances in scenes.items()],
            }
            for episode, scenes in episodes.items()
        ],
    }


def write(folder, kind, **spoken):
    """Each split has another number of turns, so that mixing them up shows."""
    for split, turns in ({"train": SPOKEN, "dev": SPOKEN[:2], "test": SPOKEN[:1]} | spoken).items():
        if kind == "json":
            (folder / emorynlp.JSON[split]).write_text(json.dumps(as_json(turns)), encoding="utf-8")
            continue
        with open(folder / emorynlp.CSV[split], "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*emorynlp.COLUMNS, "Start_Time", "End_Time"])
            for scene, id, speakers, text, emotion in turns:
                season, episode, number = (int(part[1:]) for part in scene.split("_"))
                row = [text, str(speakers), emotion, number, int(id[1:]), season, episode, "00:00:03.795", "00:00:05"]
                writer.writerow(row)
    return folder


def fails(folder, **options):
    with pytest.raises(InputError) as caught:
        emorynlp.read(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}", "FOLDER")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_both_kinds_of_files_give_the_same_scenes(tmp_path, kind):
    dataset = emorynlp.read(write(tmp_path, kind))
    assert dataset.splits["train"] == EXPECTED
    assert {split: sum(map(len, scenes)) for split, scenes in dataset.splits.items()} == {
        "train": 4,
        "dev": 2,
        "test": 1,
    }
    assert dataset.labels == emorynlp.LABELS and dataset.notes == ()
    assert dataset.splits["train"][0].speaker_indices() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_three_sentiments(tmp_path, kind):
    names = [name.capitalize() for name in emorynlp.LABELS.names]
    spoken = [("s01_e01_c01", f"u{n:03}", ["A"], "x", name) for n, name in enumerate(names)]
    dataset = emorynlp.read(write(tmp_path, kind, train=spoken), labels="sentiment")
    assert dataset.labels.names == ("neutral", "positive", "negative")
    assert [turn.label for turn in dataset.splits["train"][0].turns] == [
        "neutral",
        *["positive"] * 3,
        *["negative"] * 3,
    ]
    assert "config.data.labels: expected one of empty, sentiment, found 'emotion'" in fails(tmp_path, labels="emotion")


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_turns_without_speaker_or_text_are_kept_and_counted(tmp_path, kind):
    spoken = [("s01_e01_c01", "u001", [], "x", "Sad"), ("s01_e01_c01", "u002", ["A"], "", "Sad")]
    dataset = emorynlp.read(write(tmp_path, kind, dev=spoken))
    assert [(turn.speaker, turn.text) for turn in dataset.splits["dev"][0].turns] == [("unknown", "x"), ("A", "")]
    assert dataset.notes == (
        "emorynlp: 1 turns name no speaker and are by 'unknown'",
        "emorynlp: 1 turns have no text",
    )


@pytest.mark.parametrize(
    ("spoken", "message"),
    [
        (
            [(*SPOKEN[0][:4], "Joy")],
            "expected an emotion of neutral, joyful, peaceful, powerful, scared, mad, sad",
        ),
        ([SPOKEN[0], SPOKEN[0]], "scene s01_e15_c01 has utterance u001 twice"),
    ],
)
@pytest.mark.parametrize(("kind", "where"), [("json", "utterance s01_e15_c01_u001"), ("csv", "line ")])
def test_a_bad_utterance_is_named(tmp_path, kind, where, spoken, message):
    file = (emorynlp.JSON if kind == "json" else emorynlp.CSV)["dev"]
    found = fails(write(tmp_path, kind, dev=spoken))
    assert found.startswith(f"FOLDER/{file}, {where}") and message in found


@pytest.mark.parametrize(
    "speaker", ["Ann", "[Ann]", "['Ann'", "[1]", "__import__('os').getcwd()", "[" * 10_000, "['']"]
)
def test_a_speaker_that_is_no_list_of_names_is_named_unexecuted(tmp_path, speaker):
    write(tmp_path, "csv")
    file = tmp_path / emorynlp.CSV["test"]
    with open(file, "a", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerow(["x", speaker, "Sad", 1, 9, 1, 1, "", ""])
    assert f"FOLDER/{file.name}, line 3: expected a list of names as Speaker, such as ['Ann']" in fails(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected a list episodes, found NoneType"),
        ('{"episodes": []}', "expected utterances, found none"),
        ('{"episodes": [{"scenes": 3}]}', "an episode: expected a list scenes, found int"),
        ('{"episodes": [{"scenes": [{"scene_id": "s"}]}]}', "scene s: expected a list utterances, found NoneType"),
        ('{"episodes": [{"scenes": [{"scene_id": "s", "utterances": [3]}]}]}', "expected texts as scene_id, utterance"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    write(tmp_path, "json")
    (tmp_path / emorynlp.JSON["dev"]).write_text(content)
    found = fails(tmp_path)
    assert found.startswith(f"FOLDER/{emorynlp.JSON['dev']}") and message in found


def test_missing_files_are_named(tmp_path):
    write(tmp_path, "json")
    (tmp_path / emorynlp.JSON["dev"]).unlink()
    assert fails(tmp_path).startswith("FOLDER: expected emotion-detection-trn.json, emotion-detection-dev.json, ")
