import csv
import pathlib

import pytest

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.readers import meld
from dtrm_jax.errors import InputError

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime".split(
    ","
)


def row(dialogue, utterance, text="Hello.", speaker="Ann", emotion="neutral"):
    times = "0:36:59,425", "00:37:01,000"
    return [1, text, speaker, emotion, "neutral", dialogue, utterance, 4, 7, *times]


def write(path: pathlib.Path, rows, header=HEADER, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([header, *rows])


@pytest.fixture
def source(tmp_path):
    """Every split has another number of turns, so that mixing them up shows."""
    write(tmp_path / "train_sent_emo.csv", [row(0, 0), row(0, 1), row(0, 2)])
    write(tmp_path / "dev_sent_emo.csv", [row(0, 0), row(0, 1)])
    write(tmp_path / "test_sent_emo.csv", [row(0, 0)])
    return tmp_path


def fails(source) -> str:
    with pytest.raises(InputError) as caught:
        meld.read(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reads_the_published_layout(source):
    rows = [
        row(10, 0, "One, two", "Bob", "anger"),
        row(2, 3, "He said “no”", "Joey/Drake", "joy"),
        row(2, 0, "First\nof two lines", "Ann", "surprise"),
        row(2, 10, "I’d… go", "Ann", " Sadness "),
    ]
    write(source / "train_sent_emo.csv", rows)
    dataset = meld.read(source)
    assert dataset.name == "meld"
    assert dataset.labels == meld.LABELS
    assert {split: sum(map(len, ones)) for split, ones in dataset.splits.items()} == {"train": 4, "dev": 2, "test": 1}
    # Ascending ids, as numbers: 2 before 10, and utterance 3 before 10; gaps are no turns.
    assert dataset.splits["train"] == (
        Conversation(
            "2",
            (
                Turn("0", "Ann", "First\nof two lines", label="surprise"),
                Turn("3", "Joey/Drake", "He said “no”", label="joy"),
                Turn("10", "Ann", "I’d… go", label="sadness"),
            ),
        ),
        Conversation("10", (Turn("0", "Bob", "One, two", label="anger"),)),
    )


def test_columns_may_be_more_and_elsewhere(source):
    header = ["Old_Dialogue_ID", "Utterance_ID", "Dialogue_ID", "Emotion", "Speaker", "Utterance"]
    write(source / "dev_sent_emo.csv", [[9, 1, 4, "fear", "Bob", "Oh no!"]], header)
    assert meld.read(source).splits["dev"] == (Conversation("4", (Turn("1", "Bob", "Oh no!", label="fear"),)),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_blank_lines_are_ignored(source, encoding):
    # Utterance comes first: a mark taken for text would hide that column.
    write(source / "dev_sent_emo.csv", [row(7, 0)[1:], [], row(7, 1)[1:]], HEADER[1:], encoding)
    (conversation,) = meld.read(source).splits["dev"]
    assert [turn.text for turn in conversation.turns] == ["Hello.", "Hello."]


def test_control_characters_of_windows_1252_are_repaired_and_nothing_else(source):
    texts = {
        "I\x92m \x93here\x94\x85": "I’m “here”…",
        "caf\xe9, it\x92s": "café, it’s",
        "it’s and it\x92s": "it’s and it’s",
        "naïve â€™ \u2019": "naïve â€™ \u2019",
        "unknown \x81": "unknown \x81",
    }
    write(source / "dev_sent_emo.csv", [row(0, n, text, "Zo\x92") for n, text in enumerate(texts)])
    (conversation,) = meld.read(source).splits["dev"]
    assert [turn.text for turn in conversation.turns] == list(texts.values())
    assert conversation.turns[0].speaker == "Zo’"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (row(0, 1, emotion="joyful"), "'joyful'"),
        (row(0, 1, emotion=""), "Emotion"),
        (row(0, "x"), "Utterance_ID, found 'x'"),
        (row("1.0", 1), "Dialogue_ID, found '1.0'"),
        (row(-1, 1), "Dialogue_ID"),
        (row("1_0", 1), "Dialogue_ID"),
        (row("9" * 5000, 1), "Dialogue_ID"),
        (row(0, ""), "Utterance_ID"),
        (row(0, 1, text=" \t"), "Utterance is empty"),
        (row(0, 1, text="\u2003\xa0"), "Utterance is empty"),
        (row(0, 1, speaker=" "), "Speaker is empty"),
        (row(0, 0), "dialogue 0 has utterance 0 twice"),
        (row(0, "00"), "dialogue 0 has utterance 0 twice"),
        (row(0, 1)[:-1], "expected 11 fields, found 10"),
        ([*row(0, 1), "more"], "expected 11 fields, found 12"),
    ],
    ids=str,
)
def test_a_bad_row_is_named_by_file_and_line(source, bad, words):
    # The first row covers lines 2 and 3, so the bad one starts on line 4.
    write(source / "dev_sent_emo.csv", [row(0, 0, "two\nlines"), bad, row(0, 7)])
    message = fails(source)
    assert f"{source / 'dev_sent_emo.csv'}, line 4: " in message
    assert words in message


@pytest.mark.parametrize("text", [b'"never closed', b'"closed" too early'])
def test_broken_quotes_are_named_by_line(source, text):
    path = source / "test_sent_emo.csv"
    path.write_bytes(path.read_bytes() + b"2," + text + b",Ann,joy,positive,0,1,4,7,a,b\r\n")
    assert f"{path}, line 3: " in fails(source)


def test_bytes_that_are_not_utf_8_are_named_by_line(source):
    path = source / "train_sent_emo.csv"
    write(path, [row(0, 0), row(0, 1, "It\x92s")], encoding="latin-1")
    message = fails(source)
    assert f"{path}, line 3: expected UTF-8, found byte 0x92" in message


@pytest.mark.parametrize("gone", ["Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"])
def test_a_missing_or_repeated_column_is_named(source, gone):
    path = source / "train_sent_emo.csv"
    write(path, [row(0, 0)], [name if name != gone else "Other" for name in HEADER])
    message = fails(source)
    assert str(path) in message and message.endswith(f": {gone}")
    write(path, [[*row(0, 0), "x"]], [*HEADER, gone])
    assert fails(source).endswith(f": {gone}")


def test_all_missing_columns_are_named(source):
    write(source / "train_sent_emo.csv", [["a"]], ["Text"])
    assert "Utterance, Speaker, Dialogue_ID, Utterance_ID, Emotion" in fails(source)


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n", ",".join(HEADER).encode() + b"\r\n"])
def test_a_file_without_rows_is_an_error(source, content):
    (source / "train_sent_emo.csv").write_bytes(content)
    assert str(source / "train_sent_emo.csv") in fails(source)


def test_missing_files_are_named_with_their_folder(source):
    (source / "dev_sent_emo.csv").unlink()
    (source / "test_sent_emo.csv").unlink()
    message = fails(source)
    assert message.startswith(f"{source}: dev_sent_emo.csv, test_sent_emo.csv not found")
    assert "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv not found" in fails(source / "nowhere")
    assert "train_sent_emo.csv" in fails(source / "train_sent_emo.csv")


def test_the_sentiment_is_read_in_place_of_the_emotion(source):
    rows = [row(0, number) for number in range(3)]
    for one, sentiment in zip(rows, ("positive", "Negative ", "neutral"), strict=True):
        one[4] = sentiment
    write(source / "dev_sent_emo.csv", rows)
    dataset = meld.read(source, labels="sentiment")
    assert dataset.labels == meld.SENTIMENTS
    assert [turn.label for turn in dataset.splits["dev"][0].turns] == ["positive", "negative", "neutral"]
    rows[1][4] = "joy"
    write(source / "dev_sent_emo.csv", rows)
    with pytest.raises(InputError, match="line 3: expected Sentiment to be one of neutral, positive, negative, found"):
        meld.read(source, labels="sentiment")
    assert meld.read(source).labels == meld.LABELS
    with pytest.raises(InputError, match=r"config\.data\.labels: expected one of empty, sentiment, found 'emotion'"):
        meld.read(source, labels="emotion")


DYADIC = "Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Old_Dialogue_ID,Old_Utterance_ID".split(",")


def test_the_dyadic_variant(tmp_path):
    """A turn may be in several of its conversations, each of which is between two speakers."""
    turns = [["Hi.", "Ann", "joy", "positive", 3, 0, 1, 4], ["Oh.", "Bob", "fear", "negative", 3, 1, 1, 6]]
    for split, name in meld.DYADIC.items():
        rows = [*turns, ["Oh.", "Bob", "fear", "negative", 4, 0, 1, 6]] if split == "train" else turns
        write(tmp_path / name, rows, DYADIC)
    assert [path.name for path in meld.files(tmp_path)] == [
        "train_sent_emo_dya.csv",
        "dev_sent_emo_dya.csv",
        "test_sent_emo_dya.csv",
    ]
    first = Conversation("3", (Turn("0", "Ann", "Hi.", label="joy"), Turn("1", "Bob", "Oh.", label="fear")))
    second = Conversation("4", (Turn("0", "Bob", "Oh.", label="fear"),))
    dataset = meld.read(tmp_path)
    assert dataset.splits == {"train": (first, second), "dev": (first,), "test": (first,)}
    assert dataset.notes == ("meld: the dyadic variant, in which a turn may be in several conversations",)
    sentiments = meld.read(tmp_path, labels="sentiment").splits["dev"][0].turns
    assert [turn.label for turn in sentiments] == ["positive", "negative"]
    (tmp_path / "audio.pkl").write_bytes(b"")
    assert "feature files belong to MELD's own dialogues, not to the dyadic variant" in fails(tmp_path)
    (tmp_path / "audio.pkl").unlink()
    write(tmp_path / "train_sent_emo.csv", [row(0, 0)])
    assert "expected one variant of MELD, found files of both, such as train_sent_emo_dya.csv" in fails(tmp_path)
