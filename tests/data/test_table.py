"""People's own tables: three formats, features beside them, and errors that name the row."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data import corpus
from dtrm_jax.data.readers import table
from dtrm_jax.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "own-data.md"
ROWS = [
    {"conversation": "b", "turn": 7, "speaker": "Ann", "text": 'so, "yes"', "label": "joy"},
    {"conversation": "b", "turn": 3, "speaker": "Bob", "text": "naïve ’", "label": None},
    {"conversation": 12, "turn": "x", "speaker": "Ann", "text": "hm", "label": "anger"},
    {"conversation": "b", "turn": 5, "speaker": "Ann", "text": "two\nlines", "label": "anger"},
]
VALUED = [{**row, "value_valence": 0.5 - i, "value_power": None if i == 1 else i} for i, row in enumerate(ROWS)]
for _row in VALUED:
    del _row["label"]


def write(folder, split, rows, kind):
    path = folder / f"{split}.{kind}"
    if kind == "csv":
        cells = [list(rows[0]), *([("" if x is None else str(x)) for x in row.values()] for row in rows)]
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
        path.write_text("\ufeff" + "\r\n".join(quoted) + "\r\n", encoding="utf-8", newline="")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", encoding="utf-8")
    else:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        for name in ("conversation", "turn"):
            columns |= {name: [str(x) for x in columns[name]]} if name in columns else {}
        pq.write_table(pa.table(columns), path)
    return path


def plain(dataset):
    return {
        split: [(c.id, [(t.id, t.speaker, t.text, t.label, t.values) for t in c.turns]) for c in conversations]
        for split, conversations in dataset.splits.items()
    }


def fails(folder):
    with pytest.raises(InputError) as caught:
        table.read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}", "FOLDER")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_conversations(tmp_path, kind):
    write(tmp_path, "train", ROWS, kind)
    write(tmp_path, "test", ROWS[2:3], "csv" if kind == "jsonl" else "jsonl")
    dataset = table.read(tmp_path)
    assert dataset.labels == LabelSpace(("anger", "joy"))
    assert plain(dataset) == {
        "train": [
            (
                "b",
                [
                    ("7", "Ann", 'so, "yes"', "joy", ()),
                    ("3", "Bob", "naïve ’", None, ()),
                    ("5", "Ann", "two\nlines", "anger", ()),
                ],
            ),
            ("12", [("x", "Ann", "hm", "anger", ())]),
        ],
        "test": [("12", [("x", "Ann", "hm", "anger", ())])],
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_real_values(tmp_path, kind):
    write(tmp_path, "train", VALUED, kind)
    dataset = table.read(tmp_path)
    assert dataset.labels == ValueSpace(("power", "valence"))
    first = dataset.splits["train"][0]
    assert [turn.values for turn in first.turns] == [(0.0, 0.5), (None, -0.5), (3.0, -2.5)]
    assert {turn.label for turn in first.turns} == {None}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_features_follow_their_rows(tmp_path, kind):
    vectors = [[1.0, 2, 3], None, [7.0, 8, 9], [-1.5, 0, 1e30]]
    if kind == "csv":
        write(tmp_path, "train", ROWS, kind)
        np.savez(tmp_path / "train.npz", acoustic=np.array([v or [np.nan] * 3 for v in vectors]))
    else:
        write(tmp_path, "train", [{**row, "acoustic": v} for row, v in zip(ROWS, vectors, strict=True)], kind)
    np.savez(tmp_path / "train.npz", **(dict(np.load(tmp_path / "train.npz")) if kind == "csv" else {}), visual=ARRAY)
    first, second = table.read(tmp_path).splits["train"]
    np.testing.assert_array_equal(first.features["acoustic"], np.float32([[1, 2, 3], [np.nan] * 3, [-1.5, 0, 1e30]]))
    np.testing.assert_array_equal(second.features["acoustic"], np.float32([[7, 8, 9]]))
    np.testing.assert_array_equal(first.features["visual"], np.float32(ARRAY[[0, 1, 3]]))


ARRAY = np.arange(20).reshape(4, 5)


def test_text_may_be_empty_where_there_are_features(tmp_path):
    path = write(tmp_path, "train", [{**row, "text": ""} for row in ROWS], "jsonl")
    assert fails(tmp_path) == f"FOLDER/{path.name}, line 1: text is empty, and there are no features instead"
    np.savez(tmp_path / "train.npz", utterance=ARRAY)
    assert {turn.text for c in table.read(tmp_path).splits["train"] for turn in c.turns} == {""}


def test_labels_txt_fixes_the_order_and_admits_classes_without_turns(tmp_path):
    write(tmp_path, "train", ROWS, "csv")
    write(tmp_path, "test", [{**ROWS[0], "label": "fear"}], "csv")
    assert "test.csv, line 2: expected a label of train.csv (or list all of them in labels.txt), found 'fear'" in fails(
        tmp_path
    )
    (tmp_path / "labels.txt").write_text("joy\nfear\n\nanger\n")
    assert table.read(tmp_path).labels.names == ("joy", "fear", "anger")
    (tmp_path / "labels.txt").write_text("joy\nfear\n")
    assert "train.csv, line 4: expected a label of labels.txt, found 'anger'" in fails(tmp_path)
    (tmp_path / "labels.txt").write_text("joy\njoy\n")
    assert "labels.txt: expected labels, each once" in fails(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_labels_are_not_needed_where_none_are_wanted(tmp_path, kind):
    """Nor do those matter that are there, real values among them."""
    for split, rows in (("train", ROWS), ("test", VALUED), ("dev", [{**row} for row in ROWS])):
        for row in rows if split == "dev" else ():
            del row["label"]
        write(tmp_path, split, rows, kind)
    dataset = table.read(tmp_path, labels="none")
    assert dataset.labels == LabelSpace(("none",))
    assert {turn[3] for split in plain(dataset).values() for _, turns in split for turn in turns} == {"none"}
    assert [turn[2] for _, turns in plain(dataset)["train"] for turn in turns] == [
        ROWS[i]["text"] for i in (0, 1, 3, 2)
    ]
    assert "column label" in fails(tmp_path)


def changed(index, **values):
    rows = [dict(row) for row in ROWS]
    rows[index].update(values)
    return rows


def without(*names, rows=ROWS):
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            without("speaker", "text"),
            ": expected the columns conversation, speaker, text, missing: speaker, text; found",
        ),
        (without("label"), ": expected a column label, or else columns value_<name>, found both or neither"),
        (
            [{**row, "value_x": 1.5} for row in ROWS],
            ": expected a column label, or else columns value_<name>, found both or neither",
        ),
        (changed(2, speaker=" "), ", # 3: expected a name or a whole number as speaker, found"),
        (changed(3, turn=7), ", # 4: conversation 'b' has turn '7' twice"),
        (changed(1, text=""), ", # 2: text is empty, and there are no features instead"),
        ([{**row, "label": None} for row in ROWS], ": expected labels, each once, found 0"),
        (
            [{**row, "value_power": float("inf")} for row in VALUED],
            ", # 1: value_power: expected a number from -1e+12 to",
        ),
        (
            [{**row, "value_power": 1e25} for row in VALUED],
            ", # 1: value_power: expected a number from -1e+12 to 1e+12",
        ),
    ],
)
def test_a_bad_table_is_named(tmp_path, kind, rows, message):
    if "label" in rows[0] and kind == "parquet" and all(row["label"] is None for row in rows):
        rows = [{**row, "label": ""} for row in rows]
    path = write(tmp_path, "train", rows, kind)
    # A row's number: lines of a csv file count its header and the line break inside of "two\nlines".
    unit = "row" if kind == "parquet" else "line"
    expected = re.sub(r"# (\d)", lambda m: f"{unit} {int(m[1]) + (kind == 'csv')}", message)
    assert fails(tmp_path).startswith(f"FOLDER/{path.name}{expected}")


ROW = '{"conversation": 1, "turn": 1, "speaker": "A"%s}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 5: expected a JSON object, found list"),
        ("{", "line 5: not valid JSON"),
        ('{"conversation": true, "turn": 1, "speaker": "A", "text": "x"}', "as conversation, found True"),
        ('{"conversation": 1.5, "turn": 1, "speaker": "A", "text": "x"}', "as conversation, found 1.5"),
        ('{"conversation": null, "turn": 1, "speaker": "A", "text": "x"}', "as conversation, found nothing"),
        (ROW % ', "text": 3', "line 5: expected text, found 3"),
        (ROW % ', "text": "x", "label": 4.5', "line 5: expected a name or a whole number as label, found 4.5"),
        (ROW % ', "text": "x", "label": true', "line 5: expected a name or a whole number as label, found True"),
        (ROW % ', "text": "x", "acoustic": [1, "a"]', "line 5: acoustic: expected a list of numbers, or nothing"),
        (ROW % ', "text": "x", "acoustic": [true]', "line 5: acoustic: expected a list of numbers, or nothing"),
        (ROW % ', "text": "x", "acoustic": [1, NaN]', "line 5: acoustic features: expected finite numbers"),
        (ROW % ', "text": "x", "acoustic": [1e300]', "line 5: acoustic features: expected finite numbers"),
        (ROW % f', "text": "x", "acoustic": [{10**400}]', "line 5: acoustic: expected a list of numbers"),
        ("[" * 100_000, "line 5: not"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_bad_line_is_named(tmp_path, line, message):
    path = write(tmp_path, "train", ROWS, "jsonl")
    path.write_text(path.read_text().rstrip("\n") + "\n" + line + "\n")
    assert message in fails(tmp_path)


def test_ragged_features_are_named(tmp_path):
    rows = [{**row, "visual": [0.5] * (3 + (i == 2))} for i, row in enumerate(ROWS)]
    write(tmp_path, "train", rows, "jsonl")
    assert fails(tmp_path) == "FOLDER/train.jsonl, line 3: visual: expected a list of 3 numbers, or nothing"


def pickled(path):
    np.savez(path, acoustic=np.array([{}, 1, 2, 3], dtype=object))


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (pickled, "acoustic: expected numbers, found Python objects, which are not read"),
        (lambda path: path.write_bytes(b"junk"), "expected a complete .npz file of NumPy arrays"),
        (
            lambda path: np.savez(path, sound=ARRAY),
            "sound: expected arrays named utterance, acoustic, visual, commonsense alone",
        ),
        (
            lambda path: np.savez(path, visual=ARRAY[:3]),
            r"visual: expected numbers of shape \(4, dimensions\), one ",
        ),
        (lambda path: np.savez(path, visual=ARRAY[:, 0]), "visual: expected numbers of shape"),
        (lambda path: np.savez(path, visual=ARRAY.astype(str)), "visual: expected numbers of shape"),
        (lambda path: np.savez(path, visual=np.where(ARRAY == 7, np.nan, ARRAY)), "line 3: visual features: expected"),
    ],
)
def test_a_bad_npz_is_named(tmp_path, save, message):
    write(tmp_path, "train", ROWS, "csv")
    save(tmp_path / "train.npz")
    assert re.search(message, fails(tmp_path))


def test_splits_must_agree(tmp_path):
    write(tmp_path, "train", ROWS, "csv")
    write(tmp_path, "dev", ROWS, "jsonl")
    np.savez(tmp_path / "train.npz", acoustic=ARRAY)
    assert fails(tmp_path) == "FOLDER/dev.jsonl: expected the features of train.csv, 5 acoustic, found none"
    np.savez(tmp_path / "dev.npz", acoustic=ARRAY[:, :3])
    assert "expected the features of train.csv, 5 acoustic, found 3 acoustic" in fails(tmp_path)
    np.savez(tmp_path / "dev.npz", acoustic=ARRAY)
    assert table.read(tmp_path).feature_sizes() == {"acoustic": 5}
    write(tmp_path, "dev", VALUED, "jsonl")
    assert "dev.jsonl: expected the same value_ columns as train.csv (none), found power, valence" in fails(tmp_path)
    write(tmp_path, "dev", [{**row, "acoustic": [1]} for row in ROWS], "jsonl")
    assert "dev.npz: acoustic is a column of dev.jsonl too; leave out one of them" in fails(tmp_path)


def test_rows_of_features_may_name_themselves(tmp_path):
    write(tmp_path, "train", ROWS, "csv")
    names = {name: np.array([str(row[name]) for row in ROWS]) for name in ("conversation", "turn")}
    np.savez(tmp_path / "train.npz", acoustic=ARRAY, **names)
    assert table.read(tmp_path).feature_sizes() == {"acoustic": ARRAY.shape[1]}
    names["turn"][[0, 1]] = names["turn"][[1, 0]]
    np.savez(tmp_path / "train.npz", acoustic=ARRAY, **names)
    here, there = (repr(str(ROWS[row]["turn"])) for row in (0, 1))
    expected = (
        f"train.csv, line 2: expected turn {here} in train.npz too, found {there}; the rows of both must have one"
    )
    assert expected in fails(tmp_path)
    write(tmp_path, "train", without("turn"), "csv")
    assert table.read(tmp_path).splits, "turns that the table does not name are numbered, here and there by others"
    np.savez(tmp_path / "train.npz", acoustic=ARRAY, turn=names["turn"][:-1])
    assert f"turn: expected {len(ROWS)} texts, one for each row of train.csv" in fails(tmp_path)


def test_names_of_tables_may_differ_in_writing(tmp_path):
    for name in ("train", "dev", "test"):
        write(tmp_path, name, ROWS, "csv")
    (tmp_path / "test.csv").rename(tmp_path / "Test.CSV")
    (tmp_path / "dev.csv").rename(tmp_path / "Development.csv")
    (tmp_path / "notes.csv").write_text("whatever")
    found = table.read(tmp_path)
    assert list(found.splits) == ["train", "dev", "test"]
    assert found.notes[:2] == (
        "Development.csv: is read as the dev split",
        "Test.CSV: is read as the test split",
    )
    (tmp_path / "TEST.csv").write_text("whatever")
    assert "expected one table of the test split, found TEST.csv, Test.CSV" in fails(tmp_path)


@pytest.mark.parametrize("label", ["0.5", "-1.25", ".5", "1e-3"])
def test_real_values_are_no_classes_in_csv_either(tmp_path, label):
    write(tmp_path, "train", changed(0, label=label), "csv")
    if label == "1e-3":  # may be anything
        assert "1e-3" in table.read(tmp_path).labels.names
        return
    told = f"as label, found '{label}'; real values are columns value_<name>, and classes called so are to be listed"
    assert f"train.csv, line 2: expected a name or a whole number {told}" in fails(tmp_path)
    names = ",".join(sorted({str(row["label"]) for row in changed(0, label=label) if row["label"] is not None}))
    assert label in table.read(tmp_path, labels=names).labels.names


def test_files_that_are_not_there_or_twice(tmp_path):
    with pytest.raises(InputError, match=r"expected train\.csv, train\.jsonl or train\.parquet"):
        table.files(tmp_path)
    write(tmp_path, "train", ROWS, "csv")
    np.savez(tmp_path / "train.npz", acoustic=ARRAY)
    (tmp_path / "labels.txt").write_text("joy\nanger\n")
    assert [path.name for path in table.files(tmp_path)] == ["train.csv", "train.npz", "labels.txt"]
    write(tmp_path, "train", ROWS, "jsonl")
    with pytest.raises(InputError, match=r"expected one table of the train split, found train\.csv, train\.jsonl"):
        table.files(tmp_path)


def test_damaged_files_are_one_line(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 junk")
    assert "train.parquet: cannot be read as parquet" in fails(tmp_path)
    (tmp_path / "train.parquet").unlink()
    (tmp_path / "train.csv").write_bytes(b"conversation,turn,speaker,text,label\n1,1,A,\xff,joy\n")
    assert "train.csv, line 2: expected UTF-8, found byte 0xff" in fails(tmp_path)
    (tmp_path / "train.csv").write_text("conversation,turn,speaker,text,label\n")
    assert "train.csv: expected rows, found none" in fails(tmp_path)
    (tmp_path / "train.csv").write_text("conversation,turn,speaker,text,label,acoustic\n1,1,A,x,joy,[1]\n")
    assert "column acoustic: a csv file cannot hold features; put them into train.npz" in fails(tmp_path)
    (tmp_path / "train.csv").write_text("conversation,turn,speaker,text,text,label\n1,1,A,x,y,joy\n")
    assert "missing or repeated: text" in fails(tmp_path)


def test_the_example_of_the_page(tmp_path, monkeypatch):
    """What the page shows is read as the page says; a change of any of its files is noticed."""
    page = PAGE.read_text(encoding="utf-8").split("\n## What a table holds\n")[1]
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in blocks] == ["train.csv", "test.jsonl", "features.py"]
    for name, content in blocks:
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "features.py"))
    config = DataConfig(name="table", source=str(tmp_path), cache=str(tmp_path / "cache"))
    dataset = corpus.load(config)
    assert dataset.labels.names == ("anger", "joy", "neutral")
    assert {split: [len(c) for c in conversations] for split, conversations in dataset.splits.items()} == {
        "train": [3, 2],
        "test": [2],
    }
    assert dataset.splits["train"][0].turns[1].text == "It was a good one, thank you."
    assert dataset.splits["train"][1].turns[0].label is None
    assert dataset.feature_sizes() == {"acoustic": 40}
    assert np.isnan(dataset.splits["train"][1].features["acoustic"]).all(axis=1).tolist() == [True, False]
    np.savez("test.npz", acoustic=np.zeros((2, 40)))
    assert not corpus.load(config).splits["test"][0].features["acoustic"].any()


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path, "train", ROWS, "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert fails(tmp_path) == "FOLDER/train.parquet: reading parquet needs pyarrow: pip install pyarrow"
