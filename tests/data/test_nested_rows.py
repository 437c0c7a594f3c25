"""Tables with one row per conversation, in the forms of Hugging Face's datasets."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.data.readers import table
from dtrm_jax.errors import InputError
from tests.runs import ROOT

ROWS = [
    {"id": "x", "utterances": ["Hi.", "Oh."], "speakers": ["Ann", "Bob"], "emotions": [2, 0], "mood": "good"},
    {"id": "y", "utterances": ["No."], "speakers": ["Cal"], "emotions": [None], "mood": "bad"},
]
NAMED = "conversation=id,text=utterances,speaker=speakers,label=emotions"
EXPECTED = (
    Conversation("x", (Turn("1", "Ann", "Hi.", label="joy"), Turn("2", "Bob", "Oh.", label="anger"))),
    Conversation("y", (Turn("1", "Cal", "No."),)),
)
CLASSES = "anger,fear,joy"


def write(folder, rows, kind, described=None):
    path = folder / f"train.{kind}"
    if kind == "parquet":
        written = pa.Table.from_pylist(rows)
        if described:
            written = written.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})
        pq.write_table(written, path)
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("[" + ",\n".join(lines) + "]" if kind == "json" else "\n".join(lines), encoding="utf-8")
    return folder


def fails(folder, **options):
    with pytest.raises(InputError) as caught:
        table.read(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}", "FOLDER")


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json"])
def test_lists_in_columns(tmp_path, kind):
    dataset = table.read(write(tmp_path, ROWS, kind), columns=NAMED, labels=CLASSES)
    assert dataset.splits["train"] == EXPECTED
    assert dataset.labels == LabelSpace(("anger", "fear", "joy"))
    assert dataset.notes == (
        f"train.{kind}: a row is a conversation, with a list of its turns' texts",
        f"train.{kind}: has no column for the turn, so that turns are numbered in their order",
        "labels that are whole numbers are positions in config.data.labels: 0 anger, 1 fear, 2 joy",
    )


def as_objects(row):
    lists = (row["speakers"], row["utterances"], row["emotions"])
    turns = [dict(zip(("role", "content", "emotion"), turn, strict=True)) for turn in zip(*lists, strict=True)]
    return {"id": row["id"], "messages": turns}


def as_object_of_lists(row):
    return {
        "id": row["id"],
        "messages": {"role": row["speakers"], "content": row["utterances"], "emotion": row["emotions"]},
    }


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json"])
@pytest.mark.parametrize("form", [as_objects, as_object_of_lists])
def test_turns_as_objects(tmp_path, kind, form):
    rows = [form(row) for row in ROWS]
    named = "turns=messages,conversation=id,speaker=role,text=content,label=emotion"
    dataset = table.read(write(tmp_path, rows, kind), columns=named, labels=CLASSES)
    assert dataset.splits["train"] == EXPECTED
    assert f"train.{kind}: a row is a conversation, its turns are in messages" in dataset.notes


def test_a_column_called_turns_needs_no_setting_and_conversations_no_name(tmp_path):
    rows = [{"turns": [{"turn": 7, "speaker": "Ann", "text": "Hi.", "label": "joy"}]}] * 2
    dataset = table.read(write(tmp_path, rows, "jsonl"))
    expected = tuple(Conversation(name, (Turn("7", "Ann", "Hi.", label="joy"),)) for name in "12")
    assert dataset.splits["train"] == expected
    assert "train.jsonl: has no column for the conversation, so that the number of its row names it" in dataset.notes
    lists = [{"text": ["Hi."], "speaker": ["Ann"], "label": ["joy"], "turn": [7]}] * 2
    assert table.read(write(tmp_path, lists, "jsonl")).splits["train"] == expected


def test_classes_are_named_as_a_parquet_file_says(tmp_path):
    names = CLASSES.split(",")
    described = {
        "utterances": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
        "emotions": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"},
    }
    dataset = table.read(write(tmp_path, ROWS, "parquet", described), columns=NAMED)
    assert dataset.splits["train"] == EXPECTED and dataset.labels.names == tuple(names)
    said = "train.parquet: labels that are whole numbers are the classes that the file names: 0 anger, 1 fear, 2 joy"
    assert said in dataset.notes
    inside = {"messages": [{"emotion": {"names": names, "_type": "ClassLabel"}}]}
    rows = [as_objects(row) for row in ROWS]
    named = "turns=messages,conversation=id,speaker=role,text=content,label=emotion"
    assert table.read(write(tmp_path, rows, "parquet", inside), columns=named).splits["train"] == EXPECTED


OF_TURNS = ("conversation", "turn", "speaker", "text", "label")


def write_turns(folder, split, kind, labels, names=None):
    rows = [dict(zip(OF_TURNS, ("a", place, "Ann", "Hi.", label), strict=True)) for place, label in enumerate(labels)]
    if kind == "csv":
        lines = [",".join(map(str, row.values())) for row in rows]
        return (folder / f"{split}.csv").write_text("\n".join([",".join(OF_TURNS), *lines]), encoding="utf-8")
    written = pa.Table.from_pylist(rows)
    described = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    pq.write_table(written.replace_schema_metadata({"huggingface": json.dumps(described)}), folder / f"{split}.parquet")


@pytest.mark.parametrize("listed", ["setting", "labels.txt", "another table"])
def test_the_classes_that_a_file_names_are_its_own_whatever_their_order_elsewhere(tmp_path, listed):
    write_turns(tmp_path, "test", "parquet", [0, 1, 2], ["neutral", "joy", "anger"])
    if listed == "another table":
        write_turns(tmp_path, "train", "csv", ["anger", "joy", "neutral"])
    else:
        write_turns(tmp_path, "train", "parquet", [2, 1, 0], ["neutral", "joy", "anger"])
    if listed == "labels.txt":
        (tmp_path / "labels.txt").write_text("anger\njoy\nneutral\n")
    dataset = table.read(tmp_path, labels="anger,joy,neutral" if listed == "setting" else "")
    assert dataset.labels.names == ("anger", "joy", "neutral")
    labels = {split: [turn.label for turn in dataset.splits[split][0].turns] for split in ("train", "test")}
    assert labels == {"train": ["anger", "joy", "neutral"], "test": ["neutral", "joy", "anger"]}


def test_whole_numbers_are_positions_in_classes_whose_order_is_stated_alone(tmp_path):
    write_turns(tmp_path, "train", "csv", ["joy", "anger"])
    write_turns(tmp_path, "test", "csv", [0])
    said = "FOLDER/test.csv, line 2: expected a label of train.csv (or list all of them in labels.txt), found '0'"
    assert fails(tmp_path) == said
    (tmp_path / "labels.txt").write_text("joy\nanger\n")
    dataset = table.read(tmp_path)
    assert dataset.splits["test"][0].turns[0].label == "joy"
    assert dataset.notes[-1] == "labels that are whole numbers are positions in labels.txt: 0 joy, 1 anger"


def test_of_what_stands_in_a_row_and_in_its_turns_the_conversation_is_the_row_s(tmp_path):
    turns = [{"id": 1, "who": "Ann", "says": "Hi.", "label": "joy"}, {"id": 2, "who": "Bob", "says": "Oh."}]
    rows = [{"id": name, "label": "anger", "messages": turns} for name in "xy"]
    dataset = table.read(write(tmp_path, rows, "jsonl"), columns="conversation=id,turns=messages,speaker=who,text=says")
    expected = (Turn("1", "Ann", "Hi.", label="joy"), Turn("2", "Bob", "Oh."))
    assert dataset.splits["train"] == (Conversation("x", expected), Conversation("y", expected))
    assert {
        "train.jsonl: reads id of a row, not of its turns",
        "train.jsonl: reads label of the turns, not of their row",
    } < set(dataset.notes)


def test_a_turn_may_have_a_key_of_the_name_of_the_column_of_turns(tmp_path):
    rows = [{"id": "x", "text": [{"speaker": "Ann", "text": "Hi.", "label": "joy"}]}]
    dataset = table.read(write(tmp_path, rows, "jsonl"), columns="conversation=id,turns=text")
    assert dataset.splits["train"] == (Conversation("x", (Turn("1", "Ann", "Hi.", label="joy"),)),)


def test_a_row_without_the_name_that_others_have_is_named(tmp_path):
    turns = [{"id": 1, "speaker": "Ann", "text": "Hi.", "label": "joy"}]
    rows = [{"id": "x", "messages": turns}, {"messages": turns}]
    said = fails(write(tmp_path, rows, "jsonl"), columns="conversation=id,turns=messages")
    where = "FOLDER/train.jsonl, line 2, turn 1"
    assert said == f"{where}: expected a name or a whole number as conversation, found nothing"


def test_features_and_values_are_spread_too(tmp_path):
    rows = [
        {
            "text": ["Hi.", "Oh."],
            "speaker": ["Ann", "Bob"],
            "value_joy": [0.5, None],
            "acoustic": [[1.0, 2.0, 3.0], None],
        }
    ]
    (found,) = table.read(write(tmp_path, rows, "jsonl")).splits["train"]
    assert [turn.values for turn in found.turns] == [(0.5,), (None,)]
    np.testing.assert_array_equal(found.features["acoustic"], np.float32([[1, 2, 3], [np.nan] * 3]))


def test_a_json_file_may_hold_lines(tmp_path):
    write(tmp_path, ROWS, "jsonl").joinpath("train.jsonl").rename(tmp_path / "train.json")
    dataset = table.read(tmp_path, columns=NAMED, labels=CLASSES)
    assert dataset.splits["train"] == EXPECTED
    assert dataset.notes[0] == "train.json: reads an object on every line, as in jsonl"


def test_the_rows_of_the_page(tmp_path):
    """What docs/own-data.md shows is read with the settings that it names."""
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```json\n(.*?)\n```\n.*?`--config\.data\.columns=(\S+)`", page, re.DOTALL | re.MULTILINE)
    assert len(shown) == 2
    for row, columns in shown:
        (tmp_path / "train.jsonl").write_text(row)
        (found,) = table.read(tmp_path, columns=columns).splits["train"]
        assert found.id == "a"
        assert [(turn.speaker, turn.text) for turn in found.turns] == [("Dee", "We won!"), ("Eve", "At last.")]
        assert found.turns[0].label in ("1", "joy")


def changed(index, **values):
    return [{**row, **values} if place == index else row for place, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(1, speakers=["Cal", "Dan"]), "line 2: expected lists of one length, at least 1, found 1 text, 2 spe"),
        (changed(1, utterances="No."), "line 2: expected lists of one length, at least 1, found no list of text, 1 s"),
        (changed(1, utterances=[], speakers=[], emotions=[]), "line 2: expected lists of one length, at least 1, fou"),
        (changed(1, utterances=[""]), "line 2, turn 1: text is empty, and there are no features instead"),
        (changed(0, speakers=["Ann", None]), "line 1, turn 2: expected a name or a whole number as speaker, found no"),
        (changed(0, emotions=[2, 7]), "line 1, turn 2: expected a label of config.data.labels, found '7'"),
        (changed(1, id="x"), "line 2, turn 1: conversation 'x' has turn '1' twice"),
        (changed(1, id=None), "line 2, turn 1: expected a name or a whole number as conversation, found nothing"),
    ],
)
def test_a_bad_row_and_turn_are_named(tmp_path, rows, message):
    assert f"FOLDER/train.jsonl, {message}" in fails(write(tmp_path, rows, "jsonl"), columns=NAMED, labels=CLASSES)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "turns: expected a list of turns, each a JSON object, and at least one of them"),
        ([{"text": "x", "speaker": "A"}, 3], "turns: expected a list of turns, each a JSON object"),
        ({"text": ["x"], "speaker": ["A", "B"]}, "turns: expected lists of one length, found text, speaker"),
        (None, "turns: expected a list of turns"),
    ],
)
def test_bad_turns_are_named(tmp_path, turns, message):
    rows = [{"turns": [{"text": "x", "speaker": "A", "label": "joy"}]}, {"turns": turns}]
    assert f"FOLDER/train.jsonl, line 2: {message}" in fails(write(tmp_path, rows, "jsonl"))


def test_missing_turns_are_named(tmp_path):
    assert "expected a column messages for turns, found id, utterances, speakers, emotions, mood" in fails(
        write(tmp_path, ROWS, "jsonl"), columns="turns=messages"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1,', "train.json, line 1: not valid JSON"),
        ('[{"a": 1}', "train.json: not valid JSON"),
        ("[1]", "train.json, row 1: expected a JSON object, found int"),
        ("3", "train.json: expected a list of JSON objects, found int"),
        ("[]", "train.json: expected rows, found none"),
        ("", "train.json: not valid JSON"),
        ("[" * 100_000, "train.json: not valid JSON: nested too deeply"),
    ],
)
def test_a_bad_json_file_is_named(tmp_path, text, message):
    (tmp_path / "train.json").write_text(text)
    assert f"FOLDER/{message}" in fails(tmp_path)
