"""Tables with names, delimiters and writing of their own: what is taken, what is said, what is refused."""

import json

import pytest

from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.data import corpus
from dtrm_jax.data.readers import columns, table, table_rows, table_turns
from dtrm_jax.errors import InputError

PLAIN = "conversation,turn,speaker,text,label\n1,1,Ann,Hi.,joy\n1,2,Bob,Oh.,anger\n"
EXPECTED = (Conversation("1", (Turn("1", "Ann", "Hi.", label="joy"), Turn("2", "Bob", "Oh.", label="anger"))),)
FIELD = "Dialogue_ID,Utterance_ID,Speaker,Utterance,Emotion\n" + PLAIN.partition("\n")[2]
NAMED = "conversation=Dialogue_ID,turn=Utterance_ID,speaker=Speaker,text=Utterance,label=Emotion"


def written(folder, text, name="train.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(folder, columns="", **options):
    dataset = table.read(folder, columns=columns, **options)
    return dataset.splits["train"], dataset.notes


def fails(folder, columns="", **options):
    with pytest.raises(InputError) as caught:
        table.read(folder, columns=columns, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}", "FOLDER")


def test_a_table_in_the_projects_own_words_says_nothing(tmp_path):
    assert read(written(tmp_path, PLAIN)) == (EXPECTED, ())


def test_columns_have_the_names_that_the_setting_gives(tmp_path):
    assert read(written(tmp_path, FIELD), NAMED) == (EXPECTED, ())


@pytest.mark.parametrize(
    ("delimiter", "name", "note"),
    [
        (";", "train.csv", ("train.csv: its fields are separated by semicolons",)),
        ("\t", "train.csv", ("train.csv: its fields are separated by tabs",)),
        ("\t", "train.tsv", ()),
        (",", "train.tsv", ("train.tsv: its fields are separated by commas",)),
    ],
)
def test_a_delimiter_is_found_and_said(tmp_path, delimiter, name, note):
    text = PLAIN.replace(",", delimiter).replace("Hi.", f'"Hi{delimiter} you, there; here."')
    conversations, notes = read(written(tmp_path, text, name))
    assert notes == note
    assert conversations[0].turns[0].text == f"Hi{delimiter} you, there; here."
    assert conversations[0].turns[1] == EXPECTED[0].turns[1]


def test_a_header_is_forgiven_its_case_and_spaces_with_a_note(tmp_path):
    text = PLAIN.replace("conversation,turn,speaker,text", "Conversation, turn,SPEAKER,text ")
    conversations, notes = read(written(tmp_path, text))
    assert conversations == EXPECTED
    assert notes == (
        "train.csv: reads the columns 'Conversation' as conversation, ' turn' as turn, 'SPEAKER' as speaker, 'text ' as"
        " text",
    )


def test_names_of_the_setting_are_forgiven_the_same(tmp_path):
    conversations, notes = read(written(tmp_path, FIELD.replace("Dialogue_ID", "dialogue id")), NAMED)
    assert conversations == EXPECTED
    assert notes == ("train.csv: reads the columns 'dialogue id' as Dialogue_ID",)


def test_a_note_names_all_files_that_it_is_about(tmp_path):
    for name in ("train.csv", "test.csv"):
        written(tmp_path, PLAIN.replace(",", ";"), name)
    written(tmp_path, PLAIN, "validation.csv")
    dataset = table.read(tmp_path)
    assert dataset.notes == (
        "validation.csv: is read as the dev split",
        "train.csv, test.csv: its fields are separated by semicolons",
    )
    assert dataset.splits == {"train": EXPECTED, "dev": EXPECTED, "test": EXPECTED}


def test_one_file_is_the_training_table(tmp_path):
    file = written(tmp_path, PLAIN, "talk.csv") / "talk.csv"
    written(tmp_path, "anger\njoy\n", "labels.txt")
    assert read(file) == (EXPECTED, ("talk.csv: is read as the train split",))
    assert [path.name for path in table.files(file)] == ["talk.csv", "labels.txt"]


def test_turns_without_a_column_are_numbered_and_said(tmp_path):
    text = "conversation,speaker,text,label\na,Ann,Hi.,joy\nb,Ann,No.,\na,Bob,Oh.,joy\n"
    conversations, notes = read(written(tmp_path, text))
    assert [[turn.id for turn in conversation.turns] for conversation in conversations] == [["1", "2"], ["1"]]
    again = "train.csv: conversation 'a' begins again in line 4; look whether two have one name"
    assert notes == ("train.csv: has no column for the turn, so that turns are numbered in their order", again)
    text = "conversation,speaker,text,label\na,Ann,Hi.,joy\na ,Ann,No.,\nb,Bob,Oh.,joy\n"
    conversations, notes = read(written(tmp_path, text))
    assert [[turn.id for turn in conversation.turns] for conversation in conversations] == [["1", "2"], ["1"]]
    assert not any("begins again" in note for note in notes)


def test_a_column_that_may_be_the_turn_is_named(tmp_path):
    assert read(written(tmp_path, PLAIN.replace("turn", "Turn ID")))[1] == (
        "train.csv: has no column for the turn, so that turns are numbered in their order, although there is a column "
        "Turn ID",
    )


def test_spaces_around_names_are_left_out_and_counted(tmp_path):
    conversations, notes = read(written(tmp_path, PLAIN.replace("Ann", " Ann ").replace("anger", "anger ")))
    assert conversations == EXPECTED and notes == ("train.csv: leaves out the spaces around 2 names",)


def test_an_exact_name_comes_before_one_that_is_alike(tmp_path):
    text = PLAIN.replace("text,label", "text,label,Text").replace("joy", "joy,x").replace("anger", "anger,y")
    assert read(written(tmp_path, text)) == (EXPECTED, ("train.csv: does not read the columns 'Text', beside text",))
    assert fails(written(tmp_path, text.replace(",text,", ",TEXT,"))) == (
        "FOLDER/train.csv: expected one column text, found 'TEXT', 'Text'"
    )


def test_a_column_of_the_projects_name_that_another_replaces_is_left_alone(tmp_path):
    text = "conversation,turn,speaker,text,label,clean\n1,1,Ann,raw,joy,Hi.\n1,2,Bob,raw,anger,Oh.\n"
    assert read(written(tmp_path, text), "text=clean") == (EXPECTED, ())
    loaded = table_rows.load(tmp_path / "train.csv", "text=clean")
    assert [[row.values[key] for key in loaded.keys.values()] for row in loaded.rows] == [
        ["1", "1", "Ann", "raw", "joy", "Hi."],
        ["1", "2", "Bob", "raw", "anger", "Oh."],
    ]


@pytest.mark.parametrize(
    ("text", "named", "message"),
    [
        (
            FIELD,
            "",
            "FOLDER/train.csv: expected the columns conversation, speaker, text, missing: conversation, text; found "
            "Dialogue_ID, Utterance_ID, Speaker, Utterance, Emotion; name yours, as in "
            "--config.data.columns=conversation=Dialogue_ID,turn=Utterance_ID,text=Utterance,label=Emotion",
        ),
        (
            PLAIN.replace("text", "utterance"),
            "",
            "FOLDER/train.csv: expected the columns conversation, speaker, text, missing: text; found conversation, "
            "turn, speaker, utterance, label; name yours, as in --config.data.columns=text=utterance",
        ),
        (
            PLAIN.replace("speaker", "spaeker"),
            "",
            "missing: speaker; found conversation, turn, spaeker, text, label; name yours, as in "
            "--config.data.columns=speaker=spaeker",
        ),
        (PLAIN.replace("speaker", "x"), "", "as in --config.data.columns=speaker=NAME"),
        (
            PLAIN.replace("label", "Emotion"),
            "",
            "FOLDER/train.csv: expected a column label, or else columns value_<name>, found both or neither in "
            "conversation, turn, speaker, text, Emotion; name yours, as in --config.data.columns=label=Emotion",
        ),
        (
            FIELD,
            NAMED.replace("=Utterance,", "=Uterance,"),
            "config.data.columns: expected a column Uterance for text, found Dialogue_ID, Utterance_ID, Speaker, "
            "Utterance, Emotion; did you mean Utterance?",
        ),
        (PLAIN, "text=zzz", "expected a column zzz for text, found conversation, turn, speaker, text, label; did you"),
        (PLAIN.replace("text", "conversation"), "", "missing or repeated: conversation"),
    ],
)
def test_errors_name_the_columns_found_and_the_nearest(tmp_path, text, named, message):
    assert message in fails(written(tmp_path, text), named)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("text", "expected name=column, as in text=Utterance, found 'text'"),
        ("text=", "expected name=column"),
        ("txt=a", "found 'txt'; did you mean text?"),
        ("dialogue_id=a", "found 'dialogue_id'; did you mean conversation?"),
        ("text=a,text=b", "expected each name once, found 'text=b' after another"),
        ("text=a,label=a", "expected each name once, found 'label=a' after another"),
    ],
)
def test_a_bad_setting_is_named(setting, message):
    with pytest.raises(InputError) as caught:
        columns.parse(setting)
    assert message in str(caught.value) and str(caught.value).startswith("config.data.columns: ")


def test_a_name_with_a_comma_stands_in_quotes():
    assert columns.parse('"text=Text, cleaned",label=Emotion, speaker=Who') == {
        "text": "Text, cleaned",
        "label": "Emotion",
        "speaker": "Who",
    }


@pytest.mark.parametrize("label", [4, "4", 4.0, "4.0", " 4 "])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_whole_number_labels_are_alike_in_all_files(tmp_path, label, kind):
    if kind == "csv":
        written(tmp_path, PLAIN.replace("joy", str(label)).replace("anger", "10"))
    else:
        rows = [{"conversation": 1, "turn": 1, "speaker": "Ann", "text": "Hi.", "label": label}]
        rows.append({"conversation": 1, "turn": 2, "speaker": "Bob", "text": "Oh.", "label": 10})
        written(tmp_path, "\n".join(map(json.dumps, rows)), "train.jsonl")
    dataset = table.read(tmp_path)
    assert dataset.labels == LabelSpace(("4", "10"))  # as numbers
    assert [turn.label for turn in dataset.splits["train"][0].turns] == ["4", "10"]
    assert any("decimal point, such as 4.0" in note for note in dataset.notes) == ("." in str(label))


@pytest.mark.parametrize("given", ["setting", "file"])
def test_whole_numbers_are_positions_in_named_classes(tmp_path, given):
    written(tmp_path, PLAIN.replace("joy", "2").replace("anger", "joy"))
    options = {"labels": "fear, joy,anger"} if given == "setting" else {}
    if given == "file":
        written(tmp_path, "fear\njoy\nanger\n", "labels.txt")
    dataset = table.read(tmp_path, **options)
    assert dataset.labels.names == ("fear", "joy", "anger")
    assert [turn.label for turn in dataset.splits["train"][0].turns] == ["anger", "joy"]
    where = "config.data.labels" if given == "setting" else "labels.txt"
    assert dataset.notes == (f"labels that are whole numbers are positions in {where}: 0 fear, 1 joy, 2 anger",)
    written(tmp_path, PLAIN.replace("joy", "3"))
    assert "train.csv, line 2: expected a label of" in fails(tmp_path, **options)
    assert "found '3'" in fails(tmp_path, **options)


def test_numbers_that_are_classes_are_no_positions(tmp_path):
    written(tmp_path, PLAIN.replace("joy", "0").replace("anger", "2"))
    assert "expected a label of config.data.labels, found '0'" in fails(tmp_path, labels="1,2,3")


def test_classes_are_listed_once(tmp_path):
    written(tmp_path, "joy\nanger\n", "labels.txt")
    assert "labels.txt: config.data.labels lists the classes too; leave out one" in fails(
        written(tmp_path, PLAIN), labels="joy,anger"
    )
    (tmp_path / "labels.txt").unlink()
    assert "config.data.labels: expected labels, each once" in fails(tmp_path, labels="joy,joy")
    written(tmp_path, PLAIN.replace("label", "value_x").replace("joy", "1").replace("anger", "2"))
    assert "has real values, not classes" in fails(tmp_path, labels="joy,anger")


def test_the_settings_are_part_of_what_is_cached_and_the_notes_come_back(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    written(source, FIELD.replace(",", ";").replace("joy", "1").replace("anger", "0"))
    config = DataConfig(name="table", source=str(source), cache=str(tmp_path / "cache"), columns=NAMED)
    first = corpus.load(config)
    assert first.notes == ("train.csv: its fields are separated by semicolons",)
    assert corpus.load(config) == first and first.labels.names == ("0", "1")
    config.labels = "anger,joy"
    assert corpus.load(config).splits["train"] == EXPECTED
    config.test_session = 3
    with pytest.raises(InputError, match=r"config\.data\.test_session: table does not take it, found 3"):
        corpus.load(config)


def test_rows_without_labels_make_conversations(tmp_path):
    """What a prediction reads: no label, one conversation if there is no column for it."""
    path = written(tmp_path, "Speaker\tText\nAnn\tHi.\nBob\tOh.\n", "talk.txt") / "talk.txt"
    loaded = table_rows.load(path, "", kind=".csv", one_conversation=True)
    assert table_turns.conversations(loaded, None) == (
        Conversation("talk", (Turn("1", "Ann", "Hi."), Turn("2", "Bob", "Oh."))),
    )
    assert list(loaded.keys) == ["Speaker", "Text"] and len(table_rows.said([loaded])) == 4
    with pytest.raises(InputError, match=r"name yours, as in --columns=text=Utterance"):
        table_rows.load(
            written(tmp_path, "Speaker,Utterance\nAnn,Hi.\n") / "train.csv",
            "",
            one_conversation=True,
            setting="columns",
        )
    labelled = table_rows.load(written(tmp_path, PLAIN) / "train.csv", "")
    assert [turn.label for turn in table_turns.conversations(labelled, None)[0].turns] == [None, None]
    with pytest.raises(InputError, match=r"train\.csv, line 3: expected a label of joy, fear, found 'anger'"):
        table_turns.conversations(labelled, LabelSpace(("joy", "fear")))
