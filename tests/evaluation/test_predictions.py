"""The files of an evaluation round-trip and appear whole or not at all."""

import json
import os
import stat

import numpy as np
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation import predictions

LABELS = LabelSpace(("calm", "joy, loud", "überrascht"))
NASTY = (
    'says "no", then\r\nleaves',
    "lone \n newline \r return",
    '"',
    ",",
    "  spaces  ",
    "",
    "😀 naïve 漢字",
    "a\tb\0c",
)


def conversation(name="d1", texts=("hello", "you"), labels=("calm", None)):
    turns = tuple(
        Turn(id=f"u{index}", speaker=f"sp{index % 2}", text=text, label=label)
        for index, (text, label) in enumerate(zip(texts, labels, strict=True))
    )
    return Conversation(name, turns)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "eval" / "test" / "predictions.csv"


def test_the_file_byte_for_byte(path):
    probabilities = [
        np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]], dtype=np.float32),
        np.array([[1.0, 0.0, 0.0]]),
    ]
    second = conversation("d2", texts=('so, "he"\nsaid',), labels=("joy, loud",))
    predictions.write(path, [conversation(), second], probabilities, LABELS)
    expected = (
        'dialogue_id,turn,speaker,utterance,label,prediction,p_calm,"p_joy, loud",p_überrascht\r\n'
        'd1,u0,sp0,hello,calm,"joy, loud",0.25,0.5,0.25\r\n'
        "d1,u1,sp1,you,,überrascht,0.1,0.2,0.7\r\n"
        'd2,u0,sp0,"so, ""he""\nsaid","joy, loud",calm,1.0,0.0,0.0\r\n'
    )
    assert path.read_bytes() == expected.encode("utf-8")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_round_trip(path, dtype):
    labels = ("calm", None, *["joy, loud", "überrascht"] * 3)
    written = [conversation("a,b\n", NASTY, labels), conversation('"', NASTY[::-1], labels)]
    rng = np.random.default_rng(0)
    probabilities = [rng.dirichlet(np.ones(3), size=len(NASTY)).astype(dtype) for _ in written]
    predictions.write(path, written, probabilities, LABELS)
    rows, label_space = predictions.read(path)
    assert label_space == LABELS
    expected = [(one.id, turn) for one in written for turn in one.turns]
    assert len(rows) == len(expected) == 16
    for row, (dialogue_id, turn), values in zip(rows, expected, np.concatenate(probabilities), strict=True):
        found = (row.dialogue_id, row.turn, row.speaker, row.utterance, row.label)
        assert found == (dialogue_id, turn.id, turn.speaker, turn.text, turn.label)
        assert row.prediction == LABELS.names[values.argmax()]
        assert np.asarray(row.probabilities, dtype=dtype).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("probabilities", "label", "message"),
    [
        ([], "calm", "probabilities of 1 conversations, found those of 0"),
        ([np.ones((3, 3))], "calm", r"conversation d1: expected probabilities of shape \(2, 3\), found \(3, 3\)"),
        ([np.ones((2, 2))], "calm", r"shape \(2, 3\), found \(2, 2\)"),
        ([np.full((2, 3), np.nan)], "calm", "conversation d1: the probabilities are not finite"),
        ([np.ones((2, 3))], "bored", "unknown label 'bored'"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, probabilities, label, message):
    path.parent.mkdir(parents=True)
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        predictions.write(path, [conversation(labels=(label, None))], probabilities, LABELS)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_replaces_in_one_step(path, monkeypatch):
    predictions.write(path, [conversation()], [np.eye(3)[:2]], LABELS)
    replaced = []
    replace = os.replace

    def spy(source, target):
        assert "p_calm" in path.read_text()  # the old file is there until the very end
        replaced.append((source.parent, len(source.read_bytes()) > 0, target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    predictions.write(path, [conversation()], [np.eye(3)[1:]], LABELS)
    assert replaced == [(path.parent, True, path)]
    assert [row.prediction for row in predictions.read(path)[0]] == ["joy, loud", "überrascht"]
    assert list(path.parent.iterdir()) == [path]


def test_files_have_the_permissions_of_any_new_file(path):
    predictions.write(path, [conversation()], [np.eye(3)[:2]], LABELS)
    (path.parent / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


HEADER = "dialogue_id,turn,speaker,utterance,label,prediction,p_a,p_b\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 0: expected the columns dialogue_id, turn,.*found \[\]"),
        (HEADER.replace("turn", "Turn"), "line 1: expected the columns"),
        (HEADER.replace("p_b", "b"), "line 1: expected the columns"),
        (HEADER.replace("p_b", "p_a"), "line 1: expected the columns"),
        (HEADER.replace(",p_a,p_b", ""), "line 1: expected the columns"),
        (HEADER + "d,0,s,hi,a,a,0.5,0.5\nd,1,s,hi,a,a,0.5\n", "line 3: expected 8 fields, found 7"),
        (HEADER + "d,0,s,hi,c,a,0.5,0.5\n", "line 2: unknown label 'c'"),
        (HEADER + "d,0,s,hi,a,,0.5,0.5\n", "line 2: unknown label ''"),
        (HEADER + "d,0,s,hi,a,a,0.5,x\n", "line 2: expected a probability, found 'x'"),
        (HEADER + "d,0,s,hi,a,a,nan,0.5\n", "line 2: expected a probability, found 'nan'"),
        (HEADER + 'd,0,s,"hi', "line 2: unexpected end of data"),
        (HEADER + 'd,0,s,hi,a,a,0.5,"0.5', "line 2: unexpected end of data"),
    ],
)
def test_reading_names_the_file_and_the_line(path, content, message):
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=rf"predictions\.csv, {message}"):
        predictions.read(path)


def test_reading_a_file_that_is_not_utf8_or_not_there(path):
    with pytest.raises(InputError, match=r"predictions\.csv: cannot be read: No such file"):
        predictions.read(path)
    path.parent.mkdir(parents=True)
    path.write_bytes(HEADER.encode() + b"d,0,s,\xff,a,a,0.5,0.5\n")
    with pytest.raises(InputError, match=r"predictions\.csv, .*utf-8"):
        predictions.read(path)


def test_metrics_are_laid_out_for_people(tmp_path):
    metrics = {
        "accuracy": 0.5,
        "per_class": {"überrascht": {"f1": 0.1, "support": 3}, "b": {"f1": 0.2, "support": 5}},
        "labels": ["überrascht", "b"],
        "confusion_matrix": [[1, 2], [3, 4]],
        "n": 8,
        "empty": {},
    }
    predictions.write_metrics(tmp_path / "new" / "metrics.json", metrics)
    text = (tmp_path / "new" / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == metrics
    assert text.splitlines() == [
        "{",
        '  "accuracy": 0.5,',
        '  "n": 8,',
        '  "per_class": {',
        '    "überrascht": {"f1": 0.1, "support": 3},',
        '    "b": {"f1": 0.2, "support": 5}',
        "  },",
        '  "labels": ["überrascht", "b"],',
        '  "confusion_matrix": [',
        "    [1, 2],",
        "    [3, 4]",
        "  ],",
        '  "empty": {}',
        "}",
    ]
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [{"loss": float("nan")}, {"per_class": {"a": {"f1": float("inf")}}}, {"n": object()}])
def test_metrics_that_json_cannot_hold_are_refused(tmp_path, bad):
    with pytest.raises((ValueError, TypeError)):
        predictions.write_metrics(tmp_path / "metrics.json", bad)
    assert not list(tmp_path.iterdir())
