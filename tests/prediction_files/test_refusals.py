"""What is malformed is one line that names the file and the row; nothing is written, of no file."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files.run import Streams, predict
from tests.factories import tiny_config
from tests.prediction_files.forms import FORMS, as_csv, as_jsonl, as_parquet
from tests.runs import ROOT, environment, tiny_run_config
from tests.trained import SIZES, multimodal, random_run, random_trained

GOOD = [
    {"conversation": "a", "turn": "1", "speaker": "Ann", "text": "w7"},
    {"conversation": "a", "turn": "2", "speaker": "Bob", "text": "w8"},
    {"conversation": "b", "turn": "1", "speaker": "Cal", "text": "w9"},
]
# The second row with something wrong in it, and what is said of it.
WRONG_ROWS = {
    "no speaker": ({"speaker": None}, "expected a name or a whole number as speaker, found nothing"),
    "a blank speaker": ({"speaker": "  "}, "expected a name or a whole number as speaker, found nothing"),
    "an empty text": ({"text": ""}, "expected a text, found an empty one"),
    "a blank text": ({"text": " \t"}, "expected a text, found an empty one"),
    "a turn twice": ({"turn": "1"}, "conversation 'a' has turn '1' twice"),
    "no conversation": ({"conversation": ""}, "expected a name or a whole number as conversation, found nothing"),
    "a zero byte in the text": ({"text": "w\0"}, "expected text as text, found a NUL byte"),
    "a zero byte in the speaker": ({"speaker": "B\0b"}, "expected text as speaker, found a NUL byte"),
}
_TRIPLE = [{**row, "acoustic": [0.5] * SIZES["acoustic"]} for row in GOOD]
_PLACES = {"csv": "line 3", "tsv": "line 3", "jsonl": "line 2", "json": "row 2", "parquet": "row 2"}


def wrong_features(**change) -> list[dict]:
    return [_TRIPLE[0], _TRIPLE[1] | change, _TRIPLE[2]]


# Whole files: their name, content, and what is said of them.
WRONG_FILES = {
    "an empty csv": ("f.csv", b"", "f.csv: expected rows, found none"),
    "an empty jsonl": ("f.jsonl", b"\n", "f.jsonl: expected rows, found none"),
    "an empty json": ("f.json", b"", "f.json: not valid JSON"),
    "an empty list": ("f.json", b"[]", "f.json: expected rows, found none"),
    "an empty parquet": ("f.parquet", b"", "f.parquet: cannot be read as parquet"),
    "an empty transcript": ("f.txt", b"\n \n", "f.txt: expected rows, found none"),
    "a header alone": ("f.csv", b"conversation,turn,speaker,text\n", "f.csv: expected rows, found none"),
    "half a line of json": ("f.jsonl", as_jsonl(GOOD)[:-20], "f.jsonl, line 3: not valid JSON"),
    "half a list of json": ("f.json", json.dumps(GOOD).encode()[:-20], "f.json: not valid JSON"),
    "half a parquet": ("f.parquet", as_parquet(GOOD)[:-20], "f.parquet: cannot be read as parquet"),
    "half a csv field": ("f.csv", as_csv(GOOD) + b'b,2,Dan,"w1', "f.csv, line 5: not a CSV row"),
    "a short csv row": ("f.csv", as_csv(GOOD) + b"b,2,Dan\n", "f.csv, line 5: expected 4 fields, found 3"),
    "a column twice": (
        "f.csv",
        b"text,speaker,text\nw1,Ann,w2\n",
        "f.csv: expected each column once, missing or repeated: text",
    ),
    "a column twice in other case": (
        "f.csv",
        b"TEXT,speaker,Text\nw1,Ann,w2\n",
        "f.csv: expected one column text, found 'TEXT', 'Text'",
    ),
    "no text": (
        "f.csv",
        b"speaker,words\nAnn,w1\n",
        "f.csv: expected the columns speaker, text, missing: text; found speaker, words",
    ),
    "no names": (
        "f.jsonl",
        b'{"text": "w1"}\n',
        "f.jsonl: expected the columns speaker, text, missing: speaker; found text",
    ),
    "Latin-1": (
        "f.csv",
        as_csv(GOOD).replace(b"w8", "é".encode("latin-1")),
        "f.csv, line 3: expected UTF-8, found byte 0xe9",
    ),
    "Latin-1 in json": (
        "f.jsonl",
        as_jsonl(GOOD).replace(b"w8", b"\xe9"),
        "f.jsonl, line 2: expected UTF-8, found byte 0xe9",
    ),
    "Latin-1 in text": ("f.txt", b"Ann: w1\nBob: \xe9\n", "f.txt, line 2: expected UTF-8, found byte 0xe9"),
    "UTF-16": ("f.txt", "Ann: w1".encode("utf-16"), "f.txt, line 1: expected UTF-8, found byte 0xff"),
    "zero bytes": ("f.txt", b"Ann: w1\0\n", "f.txt, line 1: expected text as text, found a NUL byte"),
    "half a surrogate pair": (
        "f.jsonl",
        b'{"speaker": "Ann", "text": "\\ud800"}',
        "f.jsonl, line 1: expected Unicode, found half of a surrogate pair",
    ),
    "a line without a speaker": ("f.txt", b"Ann: w1\nw2 w3\n", "f.txt, line 2: expected Speaker: text, found 'w2 w3'"),
    "a speaker without a name": (
        "f.txt",
        b"Ann: w1\n: w2\n",
        "f.txt, line 2: expected a name or a whole number as speaker, found nothing",
    ),
    "a speaker without a text": ("f.txt", b"Ann: w1\nBob:\n", "f.txt, line 2: expected a text, found an empty one"),
    "a list in json": ("f.jsonl", b"[1]\n", "f.jsonl, line 1: expected a JSON object, found list"),
    "a number as text": ("f.jsonl", b'{"speaker": "Ann", "text": 7}\n', "f.jsonl, line 1: expected text, found 7"),
    "deep json": ("f.jsonl", b"[" * 100_000, "f.jsonl, line 1: not valid JSON: nested too deeply"),
    "predictions": (
        "f.csv",
        b"speaker,text,prediction\nAnn,w1,joy\n",
        "f.csv: has a column prediction, which the predictions",
    ),
    "another kind": ("f.dat", b"\x89PNG\r\n", "f.dat: cannot tell what it is by its beginning, expected one of csv, "),
    "a conversation of unequal lists": (
        "f.jsonl",
        b'{"speaker": ["Ann"], "text": ["w1", "w2"]}',
        "f.jsonl, line 1: expected lists of one length",
    ),
}


@pytest.fixture(scope="module")
def predictors() -> dict[str, Predictor]:
    configs = {"text": tiny_config(), "both": multimodal("ua"), "sound": multimodal("a")}
    return {name: Predictor(random_trained(config)) for name, config in configs.items()}


def refused(predictor: Predictor, names: list[str], folder: Path, **options) -> str:
    """Returns what is said; checks that nothing is written, wherever it was to go."""
    before = sorted(folder.rglob("*"))
    for output in (None, str(folder / "out.csv"), str(folder / "out.parquet"), str(folder / "out") + "/"):
        streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=False)
        given = {"kind": "", "columns": "", "format": "", "output": output} | options
        with pytest.raises(InputError) as caught:
            predict(lambda: predictor, names, streams, say=lambda _: None, **given)
        assert streams.output.getvalue() == b"" and sorted(folder.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mistake", WRONG_ROWS)
def test_a_malformed_row_is_named(predictors, tmp_path, form, mistake):
    change, expected = WRONG_ROWS[mistake]
    (tmp_path / "good.csv").write_bytes(as_csv(GOOD))
    (tmp_path / f"f.{form}").write_bytes(FORMS[form]([GOOD[0], GOOD[1] | change, GOOD[2]]))
    names = [str(tmp_path / "good.csv"), str(tmp_path / f"f.{form}")]
    found = refused(predictors["text"], names, tmp_path)
    assert found.startswith(f"{names[1]}, {_PLACES[form]}: ") and expected in found


@pytest.mark.parametrize("mistake", WRONG_FILES)
def test_a_malformed_file_is_named(predictors, tmp_path, mistake):
    name, content, expected = WRONG_FILES[mistake]
    (tmp_path / name).write_bytes(content)
    assert refused(predictors["text"], [str(tmp_path / name)], tmp_path).startswith(f"{tmp_path}/{expected}")


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("kind", ["both", "sound"])
def test_features_of_another_size_are_named(predictors, tmp_path, form, kind):
    (tmp_path / f"f.{form}").write_bytes(FORMS[form](wrong_features(acoustic=[0.5] * 4)))
    found = refused(predictors[kind], [str(tmp_path / f"f.{form}")], tmp_path)
    assert f"{_PLACES[form]}: acoustic: expected a list of 5 numbers, or nothing" in found
    others = [row | {"acoustic": [0.5] * 4} for row in GOOD]
    (tmp_path / f"f.{form}").write_bytes(FORMS[form]([others[0] | {"acoustic": None}, *others[1:]]))
    found = refused(predictors[kind], [str(tmp_path / f"f.{form}")], tmp_path)
    assert f"{_PLACES[form]}: expected 5 acoustic features, found 4" in found


def test_features_that_are_no_numbers_or_not_there_are_named(predictors, tmp_path):
    file = tmp_path / "f.jsonl"
    file.write_bytes(as_jsonl(wrong_features(acoustic="loud")))
    assert "f.jsonl, line 2: acoustic: expected a list of 5 numbers" in refused(
        predictors["both"], [str(file)], tmp_path
    )
    file.write_bytes(as_jsonl(wrong_features(acoustic=[float("nan"), 1, 1, 1, 1])))
    assert "line 2: acoustic features: expected finite" in refused(predictors["both"], [str(file)], tmp_path)
    file.write_bytes(as_jsonl(GOOD))
    assert "f.jsonl: expected 5 acoustic features, as this model reads no text, found none" in refused(
        predictors["sound"], [str(file)], tmp_path
    )
    # One conversation of the file has none.
    file.write_bytes(as_jsonl([*_TRIPLE[:2], GOOD[2]]))
    assert "f.jsonl: conversation b: expected 5 acoustic features" in refused(
        predictors["sound"], [str(file)], tmp_path
    )


def test_an_output_that_cannot_be_made_is_refused_before_anything_is_read(predictors, tmp_path):
    file = tmp_path / "f.csv"
    file.write_bytes(as_csv(GOOD))
    (tmp_path / "link.csv").symlink_to(file)

    def said(**options) -> str:
        streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=True)
        given = {"kind": "", "columns": "", "format": "", "output": None} | options
        with pytest.raises(InputError) as caught:
            predict(lambda: pytest.fail("loaded"), [str(file)], streams, say=print, **given)
        return str(caught.value)

    assert "is one of the files that are read" in said(output=str(file))
    assert "is one of the files that are read" in said(output=str(tmp_path / "link.csv"))
    assert "expected a folder or a file that ends in .csv, .jsonl, .parquet" in said(output=str(tmp_path / "out.xlsx"))
    assert "expected --output, as a terminal cannot show it" in said(format="parquet")
    assert file.read_bytes() == as_csv(GOOD)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, {"deep": [1, 2**70]}])
@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_number_that_parquet_cannot_hold_is_named(predictors, tmp_path, form, value):
    (tmp_path / f"f.{form}").write_bytes(FORMS[form]([GOOD[0], GOOD[1] | {"id": value}, GOOD[2]]))

    def predicted(output: Path) -> None:
        streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=False)
        given = {"kind": "", "columns": "", "format": "", "output": str(output)}
        predict(lambda: predictors["text"], [str(tmp_path / f"f.{form}")], streams, say=print, **given)

    with pytest.raises(InputError) as caught:
        predicted(tmp_path / "out.parquet")
    expected = f"f.{form}, {_PLACES[form]}: column id: expected whole numbers from -9223372036854775808 to "
    assert str(caught.value).startswith(f"{tmp_path}/{expected}") and not (tmp_path / "out.parquet").exists()
    predicted(tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("name", ["predictions.csv", "report.html", "prediction.json"])
def test_files_of_something_else_are_not_replaced(predictors, tmp_path, name):
    """Those of an evaluation have the same names; what an earlier prediction wrote is replaced."""
    (tmp_path / "f.csv").write_bytes(as_csv(GOOD))
    folder = tmp_path / "eval" / "test"
    folder.mkdir(parents=True)
    (folder / name).write_text("mine")

    def predicted(load) -> None:
        streams = Streams(input=io.BytesIO(), output=io.BytesIO(), terminal=False)
        given = {"kind": "", "columns": "", "format": "", "output": str(folder)}
        predict(load, [str(tmp_path / "f.csv")], streams, say=print, **given)

    with pytest.raises(InputError) as caught:
        predicted(lambda: pytest.fail("loaded"))
    expected = "expected a new folder or one that dtrm-predict has written"
    assert str(caught.value) == f"{folder}: {expected}, found another {name}, which is kept"
    assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "mine"
    (folder / name).unlink()
    for _ in range(2):
        predicted(lambda: predictors["text"])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "expected files with conversations, or - for standard input, found none"),
        (["-", "-"], "expected standard input (-) once, found it twice"),
        (["none.csv"], "none.csv: cannot be read: No such file or directory"),
        (["."], ".: cannot be read: Is a directory"),
    ],
)
def test_files_that_are_not_there(predictors, tmp_path, names, expected):
    assert refused(predictors["text"], names, tmp_path) == expected


def test_the_command_ends_with_one_line_and_status_2(tmp_path):
    run = random_run(tiny_run_config(tmp_path / "cache"), tmp_path / "run")
    (tmp_path / "f.csv").write_bytes(b"conversation,speaker,words\na,Ann,w1\n")

    def ended(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "predict.py", "--checkpoint", str(run.path), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=300)

    done = ended(str(tmp_path / "f.csv"), "--output", str(tmp_path / "out.csv"))
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'f.csv'}: expected the columns conversation, speaker, text, ")
    assert done.stderr.endswith("name yours, as in --columns=text=NAME\n")
    assert not (tmp_path / "out.csv").exists()
    done = ended(str(tmp_path / "f.csv"), "--output", str(tmp_path / "out.csv"), "--columns=text=words")
    assert done.returncode == 0 and done.stdout == f"written to {tmp_path / 'out.csv'}\n"
    assert (tmp_path / "out.csv").read_text().startswith("turn,conversation,speaker,words,prediction,p_")
