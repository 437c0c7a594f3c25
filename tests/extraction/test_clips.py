"""What is refused before any clip is read; no openSMILE is needed."""

import importlib.metadata
import json

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.extraction import tables
from dtrm_jax.extraction.audio import extract_audio
from dtrm_jax.extraction.clips import Place, clips_of
from tests.extraction.recordings import tone, write_table, write_wav


def clips(path, columns=""):
    return clips_of(tables.read(path, columns, "acoustic", text_needed=False))


@pytest.fixture
def recording(tmp_path):
    write_wav(tmp_path / "audio" / "a.wav", tone(0.1))
    return "audio/a.wav"


def test_paths_are_relative_to_the_table_and_times_are_seconds(recording, tmp_path):
    rows = [
        ("c", 1, "A", "Hm.", "joy", recording, "0.5", "2"),
        ("c", 2, "A", "Hm.", "joy", "", "1", "2"),
        ("c", 3, "A", "", "joy", tmp_path / "gone.wav", "", ""),
    ]
    found = clips(write_table(tmp_path / "train.csv", rows))
    assert found == {
        Place("train", 0): (str(tmp_path / "audio" / "a.wav"), 0.5, 2.0),
        Place("train", 2): (str(tmp_path / "gone.wav"), 0.0, None),
    }


def _rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_columns_may_have_other_names(recording, tmp_path):
    row = {"conversation": 1, "speaker": "A", "text": "x", "label": "joy", "file": recording, "on": 1}
    file = _rows(tmp_path / "train.jsonl", row)
    (clip,) = clips(file, "audio=file,start=on").values()
    assert clip == (str(tmp_path / recording), 1.0, None)
    with pytest.raises(InputError, match=r"expected a column audio .*; name yours, as in --columns=audio=file"):
        clips(file)


def test_a_row_may_be_a_conversation(recording, tmp_path):
    columns = {"text": ["x", "y"], "speaker": ["A", "B"], "label": ["joy", None]}
    file = _rows(tmp_path / "train.jsonl", {**columns, "audio": [None, recording], "start": [1, 2]})
    assert clips(file) == {Place("train", 1): (str(tmp_path / recording), 2.0, None)}


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (("{}", "2", "1"), "expected a clip to end after it starts, found 2 s to 1 s"),
        (("{}", "", "-1"), "end: expected seconds, as in 12.5, found '-1'"),
        (("{}", "0:01", ""), "start: expected seconds, as in 12.5, found '0:01'"),
        (("{}", "nan", ""), "start: expected seconds, as in 12.5, found 'nan'"),
        (("gone.wav", "", ""), "none of the files in the column audio is there, such as "),
        (("", "", ""), "expected the file of a recording in the column audio, found none"),
    ],
)
def test_a_bad_table_is_one_line(recording, tmp_path, clip, message):
    path, *times = clip
    file = write_table(tmp_path / "train.csv", [("c", 1, "A", "Hm.", "joy", path.format(recording), *times)])
    with pytest.raises(InputError, match=message) as refused:
        clips(file)
    assert str(refused.value).startswith(str(file))


def test_turns_that_are_there_twice_are_refused(recording, tmp_path):
    file = write_table(tmp_path / "train.csv", [("c", 1, "A", "Hm.", "joy", recording, "", "")] * 2)
    with pytest.raises(InputError, match="line 3: conversation 'c' has turn '1' twice"):
        clips(file)


def test_a_package_that_is_missing_is_named_with_the_command(tmp_path, monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(InputError, match="opensmile, which is not installed, run: python -m pip install"):
        extract_audio(tmp_path, tmp_path / "out", features="IS10", columns="", workers=1, say=print)
    assert not list(tmp_path.iterdir())
