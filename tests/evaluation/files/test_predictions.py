"""The files of an evaluation round-trip and appear whole or not at all."""

import csv
import os
import stat

import numpy as np
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.tasks import Classes
from dtrm_jax.tasks.rows import Attended

LABELS = LabelSpace(("calm", "joy, loud", "überrascht"))
TASK = Classes(LABELS)
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
    predictions.write(path, [conversation(), second], probabilities, TASK)
    expected = (
        'conversation,turn,speaker,text,label,prediction,p_calm,"p_joy, loud",p_überrascht\r\n'
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
    predictions.write(path, written, probabilities, TASK)
    rows, task = predictions.read(path)
    assert task == TASK
    expected = [(one.id, turn) for one in written for turn in one.turns]
    assert len(rows) == len(expected) == 16
    for row, (name, turn), values in zip(rows, expected, np.concatenate(probabilities), strict=True):
        found = (row.conversation, row.turn, row.speaker, row.text, row.label)
        assert found == (name, turn.id, turn.speaker, turn.text, turn.label)
        assert row.prediction == LABELS.names[values.argmax()]
        assert np.asarray(row.probabilities, dtype=dtype).tolist() == values.tolist()


@pytest.mark.parametrize(
    ("probabilities", "label", "message"),
    [
        ([], "calm", "outputs of 1 conversations, found those of 0"),
        ([np.ones((3, 3))], "calm", r"conversation d1: expected outputs of shape \(2, 3\), found \(3, 3\)"),
        ([np.ones((2, 2))], "calm", r"shape \(2, 3\), found \(2, 2\)"),
        ([np.full((2, 3), np.nan)], "calm", "conversation d1: the outputs are not finite"),
        ([np.ones((2, 3))], "bored", "unknown label 'bored'"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, probabilities, label, message):
    path.parent.mkdir(parents=True)
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        predictions.write(path, [conversation(labels=(label, None))], probabilities, TASK)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_replaces_in_one_step(path, monkeypatch):
    predictions.write(path, [conversation()], [np.eye(3)[:2]], TASK)
    replaced = []
    replace = os.replace

    def spy(source, target):
        assert "p_calm" in path.read_text()  # the old file is there until the very end
        replaced.append((source.parent, len(source.read_bytes()) > 0, target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    predictions.write(path, [conversation()], [np.eye(3)[1:]], TASK)
    assert replaced == [(path.parent, True, path)]
    assert [row.prediction for row in predictions.read(path)[0]] == ["joy, loud", "überrascht"]
    assert list(path.parent.iterdir()) == [path]


def test_files_have_the_permissions_of_any_new_file(path):
    predictions.write(path, [conversation()], [np.eye(3)[:2]], TASK)
    (path.parent / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def insides(turns, rng):
    """Columns of the insides, in no particular order; the acoustic modality is missing at the last turn."""
    share = rng.random((7, turns)).astype(np.float32)
    share[3:5, -1] = np.nan
    return {
        "gate_uv": share[0],
        "attended_self_a": share[3],
        "attended_weight_a": np.where(np.arange(turns) > 0, share[4], np.nan),
        "attended_turn_a": np.where(np.isnan(share[3]), -1, np.arange(turns) - 1).astype(np.int32),
        "fusion_vu": share[5],
        "fusion_e_CLS": share[6],
    }


def test_insides_come_last_and_are_read_back(path):
    rng = np.random.default_rng(0)
    written = [conversation(name, "abc", ("calm", None, "calm")) for name in ("d1", "d2")]
    columns = [insides(3, rng) for _ in written]
    predictions.write(path, written, [np.eye(3)] * 2, TASK, columns)
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith(
        ",p_überrascht,attended_turn_a,attended_weight_a,attended_self_a,gate_uv,fusion_e_CLS,fusion_vu"
    )
    rows, task = predictions.read(path)
    assert task == TASK and rows[0].probabilities == (1, 0, 0)
    for row, (one, place) in zip(rows, [(one, place) for one in columns for place in range(3)], strict=True):
        exact = {name: float(column[place]) for name, column in one.items()}
        attended = {
            0: {"a": Attended(None, None, exact["attended_self_a"])},
            1: {"a": Attended("u0", exact["attended_weight_a"], exact["attended_self_a"])},
            2: {},
        }[place]
        found = row.insides
        assert np.float32(found.gates["uv"]) == np.float32(exact["gate_uv"]) and set(found.gates) == {"uv"}
        assert list(found.fusion) == ["e_CLS", "vu"]
        assert np.float32(found.fusion["vu"]) == np.float32(exact["fusion_vu"])
        assert found.attended.keys() == attended.keys()
        for letter, expected in attended.items():
            assert found.attended[letter].turn == expected.turn
            assert np.float32(found.attended[letter].itself) == np.float32(expected.itself)
            assert (found.attended[letter].weight is None) == (expected.weight is None)
    assert [row.insides.attended["a"].turn for row in rows if row.turn == "u1"] == ["u0", "u0"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"gate_ua": np.zeros(3)}, "gate_ua: expected 2 turns, found 3"),
        ({"gate_au": np.zeros(2)}, "found 'gate_au'"),
    ],
)
def test_insides_that_do_not_fit_are_refused(path, columns, message):
    with pytest.raises(ValueError, match=message):
        predictions.write(path, [conversation()], [np.eye(3)[:2]], TASK, [columns])


HEADER = "conversation,turn,speaker,text,label,prediction,p_a,p_b\n"


def test_files_of_earlier_versions_can_be_read(path):
    predictions.write(path, [conversation()], [np.eye(3)[:2]], TASK)
    expected = predictions.read(path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("conversation,turn,speaker,text,", "dialogue_id,turn,speaker,utterance,", 1))
    assert path.read_text(encoding="utf-8") != text and predictions.read(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"line 0: expected the columns conversation, turn,.*found \[\]"),
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


ATTENDED = HEADER.replace("p_b", "p_b,attended_turn_u,attended_weight_u,attended_self_u,gate_ua")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ATTENDED.replace("gate_ua", "gate_ub"), "line 1: expected the columns attended_turn_<m>,.*found 'gate_ub'"),
        (ATTENDED.replace("gate_ua", "attended_self_u"), "line 1: expected distinct columns"),
        (ATTENDED.replace("attended_weight_u,", ""), "line 1: expected all of attended_turn_u, attended_weight_u"),
        (HEADER.replace("p_a,p_b", "p_a,gate_ua,p_b"), "line 1: expected the columns.*found 'p_b'"),
        (ATTENDED + "d,0,s,hi,a,a,0.5,0.5,,,1\n", "line 2: expected 12 fields, found 11"),
        (ATTENDED + "d,0,s,hi,a,a,0.5,0.5,,,1,1.5\n", "line 2: expected a number from 0 to 1, found '1.5'"),
        (ATTENDED + "d,0,s,hi,a,a,0.5,0.5,,,x,\n", "line 2: expected a number from 0 to 1, found 'x'"),
        (ATTENDED + "d,0,s,hi,a,a,0.5,0.5,0,0.5,0.5,\n", "line 2: expected an earlier turn of the conversation"),
        (ATTENDED + "d,0,s,hi,a,a,0.5,0.5,,0.5,0.5,\n", "line 2: expected an earlier turn of the conversation"),
        (ATTENDED + "d,0,s,hi,a,a,1,0,,,1,\nd,1,s,hi,a,a,1,0,0,,1,\n", "line 3: expected an earlier turn"),
        (ATTENDED + "d,0,s,hi,a,a,1,0,,,1,\nd,1,s,hi,a,a,1,0,0,1,,\n", "line 3: expected a number in attended_self"),
        (ATTENDED + "d,0,s,hi,a,a,1,0,,,1,\ne,1,s,hi,a,a,1,0,0,1,1,\n", "line 3: .* earlier turn .* found '0'"),
    ],
)
def test_reading_insides_names_the_file_and_the_line(path, content, message):
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


def test_an_utterance_of_any_length_is_read_again(path):
    csv.field_size_limit(131_072)  # what Python begins with
    long = conversation(texts=("x" * 200_000, "you"))
    predictions.write(path, [long], [np.full((2, 3), 1 / 3, np.float32)], TASK)
    turns, _ = predictions.read(path)
    assert [turn.text for turn in turns] == ["x" * 200_000, "you"]
