"""Line in, answer out: at once, and equal to the prediction of the whole conversation."""

import csv
import io
import json
import select
import subprocess
import sys

import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files.run import Streams, predict, stream
from tests.factories import tiny_config
from tests.prediction_files.forms import FORMS, as_csv, as_jsonl
from tests.runs import ROOT, environment, tiny_run_config
from tests.trained import SIZES, multimodal, random_run, random_trained

TALK = [("Ann", "w7 w9"), ("Bob", "w20: w21"), ("Ann", "w5"), ("Cal", "w30 w31 w32"), ("Bob", "w7")]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(random_trained(tiny_config()))


class Asking(io.BytesIO):
    """Lines of which none is given before everything before it has been answered."""

    def __init__(self, content: bytes, output: io.BytesIO, unanswered: int = 0):
        super().__init__(content)
        self._output, self._given, self._unanswered = output, 0, unanswered

    def readline(self, *_) -> bytes:
        answered = self._output.getvalue().count(b"\n")
        assert answered == max(0, self._given - self._unanswered), "a line was read before the last was answered"
        self._given += 1
        return super().readline()


def answered(predictor, content: bytes, *, kind="", columns="", format="jsonl", header=0) -> list[str]:
    """Returns the lines of the output."""
    output = io.BytesIO()
    streams = Streams(input=Asking(content, output, header), output=output, terminal=False)
    stream(lambda: predictor, ["-"], streams, kind=kind, columns=columns, format=format)
    return output.getvalue().decode().splitlines()


def check(rows, turns):
    """Checks the probabilities of rows against those of the whole conversation."""
    for row, turn in zip(rows, turns, strict=True):
        assert row["prediction"] == turn.label
        shares = [float(row[f"p_{name}"]) for name in turn.probabilities]
        np.testing.assert_allclose(shares, list(turn.probabilities.values()), rtol=0, atol=1e-5)


def test_each_line_is_answered_before_the_next_is_read(predictor):
    lines = "".join(f"{speaker}: {text}\n" for speaker, text in TALK).encode()
    rows = [json.loads(line) for line in answered(predictor, lines)]
    assert [(row["speaker"], row["text"]) for row in rows] == TALK
    check(rows, predictor.predict(TALK))


def test_conversations_go_on_side_by_side(predictor):
    mixed = [(name, turn) for turn in TALK for name in ("x", 7)]
    rows = [
        {"mood": place, "conversation": name, "speaker": s, "text": t} for place, (name, (s, t)) in enumerate(mixed)
    ]
    found = [json.loads(line) for line in answered(predictor, as_jsonl(rows))]
    named = [row | {"conversation": str(row["conversation"])} for row in rows]  # as from a file
    assert [{name: row[name] for name in rows[0]} for row in found] == named
    for name in ("x", "7"):
        check([row for row in found if row["conversation"] == name], predictor.predict(TALK))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_lines_mean_what_the_rows_of_a_file_mean(predictor, tmp_path, form):
    """Spaces around names tell nobody apart, and whole numbers are names."""
    changes = [{"speaker": "Ann "}, {"conversation": " x"}, {"speaker": " Ann"}, {"speaker": 3}, {"turn": 5.0}]
    rows = [
        {"conversation": "x", "turn": place, "speaker": speaker, "text": text, "note": " "}
        for place, (speaker, text) in enumerate(TALK)
    ]
    rows = [row | change for row, change in zip(rows, changes, strict=True)]
    rows = rows if form == "jsonl" else [row | {"turn": place} for place, row in enumerate(rows)]
    content = FORMS[form](rows)
    (tmp_path / f"talk.{form}").write_bytes(content)
    streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=False)
    options = {"kind": "", "columns": "", "format": "jsonl"}
    stream(lambda: predictor, [str(tmp_path / f"talk.{form}")], streams, **options)
    lines = [json.loads(line) for line in streams.output.getvalue().splitlines()]
    streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=False)
    predict(lambda: predictor, [str(tmp_path / f"talk.{form}")], streams, output=None, say=lambda _: None, **options)
    of_file = [json.loads(line) for line in streams.output.getvalue().splitlines()]
    for found, expected in zip(lines, of_file, strict=True):
        for name, value in expected.items():
            assert found[name] == (pytest.approx(value, abs=1e-5) if name.startswith("p_") else value), name
    assert [row["speaker"] for row in lines] == ["Ann", "Bob", "Ann", "3", "Bob"]


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_is_answered_row_by_row(predictor, delimiter):
    rows = [{"Who": speaker, "Text": text, "note": 'a "b"'} for speaker, text in TALK]
    content = as_csv(rows, delimiter)
    output = io.BytesIO()
    # The header of the input is answered with that of the output, when the first row is there.
    streams = Streams(input=io.BytesIO(content), output=output, terminal=False)
    stream(lambda: predictor, ["-"], streams, kind="", columns="speaker=Who", format="")
    found = list(csv.DictReader(io.StringIO(output.getvalue().decode(), newline="")))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    check(found, predictor.predict(TALK))


def test_of_columns_written_alike_the_one_that_was_named_is_read(predictor):
    rows = [{"Speaker": speaker, "TEXT": "w31", "Text": text} for speaker, text in TALK]
    output = io.BytesIO()
    streams = Streams(input=io.BytesIO(as_csv(rows, ",")), output=output, terminal=False)
    stream(lambda: predictor, ["-"], streams, kind="", columns="text=Text", format="jsonl")
    check(list(map(json.loads, output.getvalue().splitlines())), predictor.predict(TALK))


def test_a_person_reads_a_line_per_turn(predictor, tmp_path):
    (tmp_path / "talk.txt").write_text("Ann: w7 w9\nBob:  w20\x1b[2J \n")
    streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=True)
    stream(lambda: predictor, [str(tmp_path / "talk.txt")], streams, kind="", columns="", format="")
    first, second = streams.output.getvalue().decode().splitlines()
    turn, _ = predictor.predict([("Ann", "w7 w9"), ("Bob", "w20")])
    share = f"{100 * turn.probabilities[turn.label]:.2f}"
    assert first.split() == [turn.label, share, "Ann:", "w7", "w9"] and second.endswith("Bob: w20 [2J")


def test_labels_are_kept_and_not_looked_at(predictor):
    rows = [
        {"speaker": s, "text": t, "label": label}
        for (s, t), label in zip(TALK, (" joy", 0.73, True, [1], None), strict=True)
    ]
    found = [json.loads(line) for line in answered(predictor, as_jsonl(rows))]
    assert [row["label"] for row in found] == [row["label"] for row in rows]


def test_features_come_with_the_line():
    predictor = Predictor(random_trained(multimodal("ua")))
    vectors = np.random.default_rng(1).normal(size=(len(TALK), SIZES["acoustic"])).round(3).tolist()
    rows = [{"speaker": s, "text": t, "acoustic": v} for (s, t), v in zip(TALK, vectors, strict=True)]
    rows[2]["acoustic"] = None
    check([json.loads(line) for line in answered(predictor, as_jsonl(rows))], predictor.predict(rows))


def test_a_turn_without_features_goes_on_as_in_a_file():
    predictor = Predictor(random_trained(multimodal("av")))
    vectors = np.random.default_rng(1).normal(size=(2, SIZES["acoustic"])).round(3).tolist()
    rows = [{"speaker": "A", "mfcc": vectors[0]}, {"speaker": "B"}, {"speaker": "A", "mfcc": vectors[1]}]
    turns = [{name.replace("mfcc", "acoustic"): value for name, value in row.items()} for row in rows]
    found = answered(predictor, as_jsonl(rows), columns="acoustic=mfcc")
    check([json.loads(line) for line in found], predictor.predict(turns))
    with pytest.raises(InputError, match="expected a column mfcc for acoustic, found speaker"):
        answered(predictor, as_jsonl(rows[1:]), columns="acoustic=mfcc")
    with pytest.raises(InputError, match=r"stdin, line 1: .*as this model reads no text, found none"):
        answered(predictor, as_jsonl([{"speaker": "B", "acoustic": None}]))


def test_a_column_that_comes_later_is_kept_or_refused(predictor):
    rows = [{"speaker": "Ann", "text": "w1"}, {"speaker": "Bob", "text": "w2", "flag": "urgent"}]
    assert json.loads(answered(predictor, as_jsonl(rows))[1])["flag"] == "urgent"
    streams = Streams(input=io.BytesIO(as_jsonl(rows)), output=io.BytesIO(), terminal=False)
    with pytest.raises(InputError, match="stdin, line 2: csv has the columns of the first line, and cannot take"):
        stream(lambda: predictor, ["-"], streams, kind="", columns="", format="csv")
    assert streams.output.getvalue().count(b"\n") == 2


WRONG = {
    "no speaker": (b"Ann: w1\nw2\n", "stdin, line 2: expected Speaker: text, found 'w2'"),
    "a speaker without a name": (b"Ann: w1\n\n: w2\n", "stdin, line 3: "),
    "an empty text": (b"Ann: w1\nBob:\n", "stdin, line 2: "),
    "half a json": (b'{"speaker": "Ann", "text": "w1"}\n{"speaker": "Bob", "te\n', "stdin, line 2: not valid JSON"),
    "no object": (b'{"speaker": "Ann", "text": "w1"}\n7\n', "stdin, line 2: expected a JSON object, found int"),
    "no column": (b'{"speaker": "Ann", "text": "w1"}\n{"text": "w1"}\n', "stdin, line 2: "),
    "a number as text": (b'{"speaker": "Ann", "text": "w1"}\n{"speaker": "B", "text": 5}\n', "stdin, line 2: "),
    "a blank speaker": (
        b"speaker,text\nAnn,w1\n ,w2\n",
        "stdin, line 3: expected a name or a whole number as speaker, found nothing",
    ),
    "an empty conversation": (
        b"conversation,speaker,text\nx,Ann,w1\n,Bob,w2\n",
        "stdin, line 3: expected a name or a whole number as conversation, found nothing",
    ),
    "no conversation": (
        b'{"conversation": 1, "speaker": "Ann", "text": "w1"}\n{"speaker": "Bob", "text": "w2"}\n',
        "stdin, line 2: expected a name or a whole number as conversation, found nothing",
    ),
    "a conversation after lines without": (
        b'{"speaker": "Ann", "text": "w1"}\n{"conversation": 1, "speaker": "Bob", "text": "w2"}\n',
        "stdin, line 2: expected no conversation, as the lines before have none, found one",
    ),
    "an empty turn": (
        b"turn,speaker,text\n1,Ann,w1\n,Bob,w2\n",
        "stdin, line 3: expected a name or a whole number as turn, found nothing",
    ),
    "false as text": (
        b'{"speaker": "Ann", "text": "w1"}\n{"speaker": "B", "text": false}\n',
        "stdin, line 2: conversation stdin, turn 2: expected a text, found False",
    ),
    "an escaped zero byte": (
        b'{"speaker": "Ann", "text": "w1"}\n{"speaker": "B", "text": "w\\u0000"}\n',
        "stdin, line 2: expected text as text, found a NUL byte",
    ),
    "predictions": (
        b'{"speaker": "Ann", "text": "w1"}\n{"speaker": "B", "text": "w2", "prediction": "joy"}\n',
        "stdin: has a column prediction, which the predictions are to be written to; rename it",
    ),
    "not UTF-8": (b"Ann: w1\nBob: \xe9\n", "stdin, line 2: expected UTF-8, found byte 0xe9"),
    "zero bytes": (b"Ann: w1\nBob: \0\n", "stdin, line 2: expected text, found a NUL byte"),
    "a short row": (b"speaker,text\nAnn,w1\nBob\n", "stdin, line 3: expected 2 fields, found 1"),
    "half a field": (b'speaker,text\nAnn,w1\nBob,"w\n', "stdin, line 3: not a CSV row"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_malformed_line_is_named_and_what_came_before_is_answered(predictor, mistake):
    content, expected = WRONG[mistake]
    streams = Streams(input=io.BytesIO(content), output=io.BytesIO(), terminal=False)
    with pytest.raises(InputError) as caught:
        stream(lambda: predictor, ["-"], streams, kind="", columns="", format="jsonl")
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)
    (row,) = map(json.loads, streams.output.getvalue().splitlines())
    assert (row["speaker"], row["text"]) == ("Ann", "w1")


@pytest.mark.parametrize(
    ("names", "content", "given", "expected"),
    [
        (["-"], b"", {}, "stdin: expected turns, found none"),
        (["-"], b"speaker,text,text\n", {}, "stdin: expected each column once, missing or repeated: text"),
        (
            ["-"],
            b"speaker,text,prediction\nAnn,w1,joy\n",
            {},
            "stdin: has a column prediction, which the predictions are to be written to; rename it",
        ),
        (
            ["-"],
            b"speaker,text,acoustic\nAnn,w1,1\n",
            {},
            "stdin: column acoustic: a csv file cannot hold features; lines of jsonl can",
        ),
        (["-"], b"[1]\n", {}, "stdin: expected a kind of which each line is a turn, txt, jsonl, csv, tsv, found json"),
        (["-"], b"Ann: w1\n", {"format": "parquet"}, "--stream: expected --format table, csv, jsonl, found parquet"),
        (["-", "-"], b"", {}, "--stream: expected one file, or - for standard input, found 2"),
        (["none.txt"], b"", {}, "none.txt: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_streamed_is_refused(predictor, names, content, given, expected):
    streams = Streams(input=io.BytesIO(content), output=io.BytesIO(), terminal=False)
    with pytest.raises(InputError) as caught:
        stream(lambda: predictor, names, streams, **{"kind": "", "columns": "", "format": ""} | given)
    assert str(caught.value) == expected and streams.output.getvalue() == b""


def test_the_command_talks_with_another_process(tmp_path):
    run = random_run(tiny_run_config(tmp_path / "cache"), tmp_path / "run")
    command = [sys.executable, "predict.py", "--checkpoint", str(run.path), "--stream", "--format=jsonl", "-"]
    buffered = {name: value for name, value in environment(tmp_path).items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=buffered,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        for number in range(3):
            process.stdin.write(f"Ann: turn {number}\n")
            assert select.select([process.stdout], [], [], 120)[0], "no answer"
            assert json.loads(process.stdout.readline())["text"] == f"turn {number}"
        process.stdin.write("and now?\n")
        process.stdin.close()
        assert process.wait(timeout=60) == 2 and process.stdout.read() == ""
        assert process.stderr.read() == "error: stdin, line 4: expected Speaker: text, found 'and now?'\n"
