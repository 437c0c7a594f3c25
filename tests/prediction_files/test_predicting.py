"""From files to files: every format in and out, the columns kept, the numbers those of the predictor."""

import csv
import errno
import io
import json
import os
import pathlib
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files import predicting
from dtrm_jax.prediction_files.run import Streams, predict, stream
from dtrm_jax.prediction_files.sources import Source, titles
from dtrm_jax.report import PredictionFacts
from tests.factories import tiny_config
from tests.pages import parse
from tests.prediction_files.forms import FORMS, as_csv, as_jsonl
from tests.trained import SIZES, multimodal, random_trained

LABELS = LabelSpace(("joy", "anger", "neutral"))
# Words of the tests' tokenizer, and what a file has to quote.
TALK = (("1", "1", "Ann", "w7 w9 w11"), ("1", "2", "Bob", 'w20, "w21" w22'), ("2", "1", "Cal", "Zoë: w30\nw31 w32"))
NAMES = ("conversation", "turn", "speaker", "text")
ROWS = [dict(zip(NAMES, turn, strict=True)) | {"mood": f"m{place}"} for place, turn in enumerate(TALK)]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(random_trained(tiny_config(), labels=LABELS))


@pytest.fixture(scope="module")
def expected(predictor) -> list[dict]:
    """The predictions of ``TALK``, each conversation by itself."""
    found = []
    for name in ("1", "2"):
        turns = tuple(Turn(id, speaker, text) for talk, id, speaker, text in TALK if talk == name)
        (one,) = predictor.predict([Conversation(name, turns)])
        found += [{"prediction": turn.label} | {f"p_{k}": x for k, x in turn.probabilities.items()} for turn in one]
    return found


def run(predictor, names, *, stdin=b"", terminal=False, kind="", columns="", output=None, format=""):
    """Returns standard output, and what was said."""
    streams, said = Streams(input=io.BytesIO(stdin), output=io.BytesIO(), terminal=terminal), []
    predict(
        lambda: predictor,
        [str(name) for name in names],
        streams,
        kind=kind,
        columns=columns,
        output=None if output is None else str(output),
        format=format,
        say=said.append,
    )
    return streams.output.getvalue(), said


FILES = {form: write(ROWS) for form, write in FORMS.items()}


def rows_of(content: bytes) -> list[dict]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def check(rows, expected):
    """Checks the columns of the source and of the predictions."""
    assert [{name: row[name] for name in (*NAMES, "mood")} for row in rows] == ROWS
    assert [list(row)[5:] for row in rows] == [["prediction", "p_joy", "p_anger", "p_neutral"]] * 3
    assert [row["prediction"] for row in rows] == [one["prediction"] for one in expected]
    for name in ("p_joy", "p_anger", "p_neutral"):
        found = [np.float32(row[name]) for row in rows]
        np.testing.assert_allclose(found, [one[name] for one in expected], rtol=0, atol=2e-6)


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_and_its_columns_are_kept(predictor, expected, tmp_path, form, piped):
    (tmp_path / f"talks.{form}").write_bytes(FILES[form])
    content, said = run(predictor, ["-"] if piped else [tmp_path / f"talks.{form}"], stdin=FILES[form])
    check(rows_of(content), expected)
    assert said == (["stdin: its fields are separated by tabs"] if piped and form == "tsv" else [])


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_every_form_is_written(predictor, expected, tmp_path, format):
    (tmp_path / "talks.jsonl").write_bytes(FILES["jsonl"])
    for output, chosen in ((tmp_path / f"out.{format}", ""), (tmp_path / "out.of", format), (None, format)):
        content, _ = run(predictor, [tmp_path / "talks.jsonl"], output=output, format=chosen)
        if output is not None:
            assert content == b""
            content = output.read_bytes()
        if format == "csv":
            rows = rows_of(content)
        elif format == "jsonl":
            rows = [json.loads(line) for line in content.splitlines()]
            assert type(rows[0]["p_joy"]) is float and len(repr(rows[0]["p_joy"])) < 13
        else:
            table = pyarrow.parquet.read_table(io.BytesIO(content))
            assert table.schema.field("p_joy").type == pa.float32() and table.schema.field("text").type == pa.string()
            rows = table.to_pylist()
        check(rows, expected)
    assert {file.name for file in tmp_path.iterdir()} == {"talks.jsonl", f"out.{format}", "out.of"}


def test_a_terminal_gets_a_table(predictor, expected):
    content, _ = run(predictor, ["-"], stdin=FILES["csv"], terminal=True)
    first, ann, bob, empty, second, cal = content.decode().splitlines()
    assert first.split() == ["1", "prediction", "percent"] and second.split() == ["2", "prediction", "percent"]
    assert empty == "" and max(map(len, (first, ann, bob, second, cal))) <= 80
    for line, turn, one in zip((ann, bob, cal), TALK, expected, strict=True):
        text = f"{turn[2]}: {' '.join(turn[3].split())}"
        shown = f"{100 * one['p_' + one['prediction']]:.2f}"
        assert line.startswith(text) and line.split()[-2:] == [one["prediction"], shown]
    escaped, _ = run(predictor, ["-"], stdin=b"Ann: \x1b[31mred\n", terminal=True)
    assert b"\x1b" not in escaped and b"[31mred" in escaped


def test_a_transcript_is_one_conversation_without_columns(predictor, tmp_path):
    (tmp_path / "lunch.txt").write_text("Ann: I passed!\n\nBob: Note: this is fine.\r\n")
    for names, stdin, name in (([tmp_path / "lunch.txt"], b"", "lunch"), (["-"], b"Ann: I passed!\nBob: so", "stdin")):
        content, said = run(predictor, names, stdin=stdin)
        first, second = rows_of(content)
        assert list(first)[:5] == [*NAMES, "prediction"] and said == []
        assert (first["speaker"], first["text"], first["turn"]) == ("Ann", "I passed!", "1")
        assert second["conversation"] == name
    assert rows_of(run(predictor, [tmp_path / "lunch.txt"])[0])[1]["text"] == "Note: this is fine."


@pytest.mark.skipif(not pathlib.Path("/dev/fd").is_dir(), reason="pipes have no names")
@pytest.mark.parametrize("kind", ["", "txt"])
def test_a_pipe_is_read_once_and_whole(predictor, kind):
    lines = "".join(f"Ann: w{number % 30} {'so ' * 40}\n" for number in range(700))  # more than tells a kind
    end, beginning = os.pipe()
    with open(beginning, "w") as pipe:
        writing = threading.Thread(target=lambda: (pipe.write(lines), pipe.close()), daemon=True)
        writing.start()
        found = rows_of(run(predictor, [f"/dev/fd/{end}"], kind=kind)[0])
    os.close(end)
    assert len(found) == 700 and found[0]["text"].startswith("w0 so") and found[-1]["turn"] == "700"


def test_lines_end_where_files_have_it_and_not_within_an_utterance(predictor):
    """The kind is told by the first line; a transcript has the same turns if it is read as it comes."""
    text = "so \x0b \x0c \x1c \x85 \u2028 w5: w7"
    transcript = f"{text}\r\nBob: w7\rAnn: w9\n".replace("so", "Ann: so")
    rows = rows_of(run(predictor, ["-"], stdin=transcript.encode())[0])
    assert [(row["speaker"], row["text"]) for row in rows] == [("Ann", text), ("Bob", "w7"), ("Ann", "w9")]
    streams = Streams(input=io.BytesIO(transcript.encode()), output=io.BytesIO(), terminal=False)
    stream(lambda: predictor, ["-"], streams, kind="", columns="", format="csv")
    live = rows_of(streams.output.getvalue())
    assert [(row["speaker"], row["text"]) for row in live] == [("Ann", text), ("Bob", "w7"), ("Ann", "w9")]
    header = "note\u2028,speaker,text"
    assert rows_of(run(predictor, ["-"], stdin=f"{header}\n,Ann,w7\n".encode())[0])[0]["speaker"] == "Ann"


def test_columns_may_have_other_names_and_stay_as_they_are_called(predictor, expected):
    renamed = dict(zip(NAMES, ("Dialogue_ID", "Utterance_ID", "Speaker", "Utterance"), strict=True))
    rows = [{renamed.get(name, name): value for name, value in row.items()} for row in ROWS]
    setting = "conversation=Dialogue_ID,turn=Utterance_ID,text=Utterance"
    content, said = run(predictor, ["-"], stdin=as_csv(rows, ";"), columns=setting)
    found = rows_of(content)
    assert list(found[0])[:5] == ["Dialogue_ID", "Utterance_ID", "Speaker", "Utterance", "mood"]
    back = {theirs: ours for ours, theirs in renamed.items()}
    check([{back.get(name, name): value for name, value in row.items()} for row in found], expected)
    assert said == ["stdin: its fields are separated by semicolons", "stdin: reads the columns 'Speaker' as speaker"]


def test_labels_are_kept_and_not_looked_at(predictor, expected):
    labels = ("no class of the model", "", " joy")
    rows = [{**row, "label": label, "value_fun": "high"} for row, label in zip(ROWS, labels, strict=True)]
    found = rows_of(run(predictor, ["-"], stdin=as_csv(rows))[0])
    assert [row.pop("label") for row in found] == list(labels) and {row.pop("value_fun") for row in found} == {"high"}
    check(found, expected)
    rows = [{**row, "label": label} for row, label in zip(ROWS, (0.73, True, None), strict=True)]
    found = run(predictor, ["-"], stdin=as_jsonl(rows), format="jsonl")[0]
    assert [json.loads(line)["label"] for line in found.splitlines()] == [0.73, True, None]


def test_many_files_are_told_apart(predictor, expected, tmp_path):
    (tmp_path / "a.csv").write_bytes(FILES["csv"])
    (tmp_path / "b.jsonl").write_bytes(FILES["jsonl"])
    (tmp_path / "c.txt").write_text("Dan: Bye.\n")
    names = [tmp_path / name for name in ("a.csv", "b.jsonl", "c.txt")]
    rows = rows_of(run(predictor, names)[0])
    assert list(rows[0])[:6] == ["file", *NAMES, "mood"]
    assert [row["file"] for row in rows] == [str(names[0])] * 3 + [str(names[1])] * 3 + [str(names[2])]
    for part in (rows[:3], rows[3:6]):
        check([{name: value for name, value in row.items() if name != "file"} for row in part], expected)
    assert (rows[6]["conversation"], rows[6]["turn"], rows[6]["mood"]) == ("c", "1", "")
    table, _ = run(predictor, names, terminal=True)
    assert [line.split()[0] for line in table.decode().splitlines() if "prediction" in line] == [
        *["a.csv:"] * 2,
        *["b.jsonl:"] * 2,
        "c.txt:",
    ]


def test_rows_stay_in_their_order_where_conversations_are_mixed(predictor, expected, monkeypatch):
    monkeypatch.setattr(predicting, "_TURNS", 1)
    order = [2, 0, 1]
    rows = rows_of(run(predictor, ["-"], stdin=as_csv([ROWS[2], ROWS[0], ROWS[1]]))[0])
    assert [row["mood"] for row in rows] == ["m2", "m0", "m1"]
    check([rows[order.index(place)] for place in range(3)], expected)


def test_a_row_that_is_a_conversation_is_spread(predictor, expected):
    talks = [
        {"turns": [{"speaker": s, "text": x} for t, _, s, x in TALK if t == name], "topic": f"about {name}"}
        for name in ("1", "2")
    ]
    rows = rows_of(run(predictor, ["-"], stdin=as_jsonl(talks))[0])
    assert [(row["conversation"], row["turn"], row["topic"]) for row in rows] == [
        ("1", "1", "about 1"),
        ("1", "2", "about 1"),
        ("2", "1", "about 2"),
    ]
    assert [row["prediction"] for row in rows] == [one["prediction"] for one in expected]


def test_features_come_from_columns_or_from_a_file_beside_the_table(tmp_path):
    predictor = Predictor(random_trained(multimodal("ua"), labels=LABELS))
    acoustic = np.random.default_rng(0).normal(size=(3, SIZES["acoustic"])).astype(np.float32)
    rows = [row | {"acoustic": vector.tolist()} for row, vector in zip(ROWS, acoustic, strict=True)]
    rows[1]["acoustic"] = None
    acoustic[1] = np.nan
    (tmp_path / "talks.csv").write_bytes(FILES["csv"])
    np.savez(tmp_path / "talks.npz", acoustic=acoustic)
    of_npz = rows_of(run(predictor, [tmp_path / "talks.csv"])[0])
    content, _ = run(predictor, ["-"], stdin=as_jsonl(rows), format="jsonl")
    of_column = [json.loads(line) for line in content.splitlines()]
    without = rows_of(run(predictor, ["-"], stdin=FILES["csv"])[0])
    assert of_column[0]["acoustic"] == rows[0]["acoustic"]
    for name in ("p_joy", "p_anger"):
        np.testing.assert_allclose([float(r[name]) for r in of_npz], [r[name] for r in of_column], atol=1e-6)
        assert abs(float(without[0][name]) - of_column[0][name]) > 1e-4


def test_real_values_have_a_column_each():
    space = ValueSpace(("valence", "power"))
    predictor = Predictor(random_trained(tiny_config(), labels=space))
    content, _ = run(predictor, ["-"], stdin=FILES["csv"])
    row = rows_of(content)[0]
    assert list(row)[5:] == ["prediction_valence", "prediction_power"]
    ((turn, _),) = predictor.predict([[(turn[2], turn[3]) for turn in TALK[:2]]])
    assert float(row["prediction_power"]) == pytest.approx(turn.values["power"], abs=2e-6)
    table, _ = run(predictor, ["-"], stdin=FILES["csv"], terminal=True)
    assert table.decode().splitlines()[0].split() == ["1", "valence", "power"]


def test_a_folder_gets_the_table_and_a_page_without_scores(predictor, expected, tmp_path):
    (tmp_path / "talks.csv").write_bytes(FILES["csv"])
    (tmp_path / "more.txt").write_text("Dan: <b>w7</b>\n")
    names = [tmp_path / "talks.csv", tmp_path / "more.txt"]
    content, _ = run(predictor, names, output=tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    assert content == b"" and [path.name for path in folder.parent.iterdir()] == ["out"]
    assert {path.name for path in folder.iterdir()} == {"predictions.csv", "prediction.json", "report.html"}
    rows = rows_of((folder / "predictions.csv").read_bytes())
    check([{name: value for name, value in row.items() if name != "file"} for row in rows[:3]], expected)
    facts = PredictionFacts.read(folder)
    assert facts.inputs == tuple(map(str, names)) and (facts.step, facts.causal) == (0, True)
    page = parse((folder / "report.html").read_text(encoding="utf-8"))
    shown = page.find_all("li", class_="t")
    assert [one.find("p", class_="v").text for one in shown] == [row["prediction"] for row in rows]
    titles = [one.find_all("b")[0].text for one in page.find_all("summary")]
    assert titles == ["talks.csv: 1", "talks.csv: 2", "more.txt: more"]
    assert "F1" not in page.find("main").text and "<b>w7</b>" in shown[-1].text
    # Again, in another format: the older files that have the same names are replaced, others are left alone.
    (folder / "notes.md").write_text("mine")
    run(predictor, names[:1], output=folder, format="jsonl")
    assert {path.name for path in folder.iterdir()} == {
        *("predictions.csv", "predictions.jsonl", "prediction.json", "report.html", "notes.md")
    }
    assert PredictionFacts.read(folder).inputs == (str(names[0]),)


def test_files_of_one_name_are_told_apart(predictor, tmp_path):
    names = []
    for name, lines in (("a/talk.txt", "Ann: w7\nBob: w8\n"), ("b/talk.txt", "Cal: w9\n"), ("other.csv", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(lines or "speaker;text\nDee;w5\n")
        names.append(tmp_path / name)
    titles = ["a/talk.txt: talk", "b/talk.txt: talk", "other.csv: other"]
    table, _ = run(predictor, names, terminal=True)
    blocks = [block.splitlines() for block in table.decode().split("\n\n")]
    assert [(block[0].split("  ")[0], len(block)) for block in blocks] == list(zip(titles, (3, 2, 2), strict=True))
    run(predictor, names, output=tmp_path / "out")
    page = parse((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert [one.find_all("b")[0].text for one in page.find_all("summary")] == titles
    (tmp_path / "b" / "other.csv").write_bytes((tmp_path / "other.csv").read_bytes())
    _, said = run(predictor, [names[2], tmp_path / "b" / "other.csv"])
    told = [line.partition(": its fields are separated by semicolons")[0] for line in said if "semicolons" in line]
    assert told == [f"{tmp_path.name}/other.csv", "b/other.csv"]


def test_what_tells_files_apart():
    def told_apart(*paths: str) -> list[str]:
        return titles([Source(pathlib.Path(path), ".txt") for path in paths])

    assert told_apart("a/x.txt", "y.txt") == ["x.txt", "y.txt"]
    assert told_apart("x.txt", "a/x.txt", "b/a/x.txt") == ["x.txt", "a/x.txt", "b/a/x.txt"]
    assert told_apart("/p/a/x.txt", "/p/b/x.txt", "/q/b/x.txt") == ["a/x.txt", "p/b/x.txt", "q/b/x.txt"]
    assert told_apart("/x.txt", "/a/x.txt", "/x.txt", "y.txt") == ["/x.txt (1)", "a/x.txt", "/x.txt (2)", "y.txt"]


def test_a_folder_that_is_there_may_be_a_disk_of_its_own(predictor, tmp_path, monkeypatch):
    folder, replace = tmp_path / "disk", os.replace
    folder.mkdir()

    def move(old, new):
        if pathlib.Path(new).is_relative_to(folder) != pathlib.Path(old).is_relative_to(folder):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(new))
        replace(old, new)

    monkeypatch.setattr(os, "replace", move)
    run(predictor, ["-"], stdin=FILES["csv"], output=folder)
    assert {path.name for path in folder.iterdir()} == {"predictions.csv", "prediction.json", "report.html"}
    assert [*tmp_path.iterdir()] == [folder]


def test_a_page_of_real_values(tmp_path):
    predictor = Predictor(random_trained(tiny_config(), labels=ValueSpace(("valence", "power"))))
    run(predictor, ["-"], stdin=FILES["csv"], output=tmp_path / "out")
    page = parse((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert len(page.find_all("li", class_="t")) == 3 and "valence" in page.find("main").text
