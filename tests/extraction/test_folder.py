import json

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.extraction.folder import Folder

SETTINGS = {"features": "some", "files": {"train.csv": "12"}}


def made(folder: Folder) -> None:
    with folder.begun(), folder.appearing({"present": 3}) as new:
        (new / "train.csv").write_text("content")


def test_it_appears_complete_and_nothing_else_stays(tmp_path):
    folder = Folder(tmp_path / "above" / "out", SETTINGS)
    assert folder.complete() is None
    made(folder)
    assert {path.name for path in folder.path.parent.iterdir()} == {"out"}
    assert {path.name for path in folder.path.iterdir()} == {"train.csv", "extraction.json"}
    assert Folder(folder.path, SETTINGS).complete()["present"] == 3
    (tmp_path / "empty").mkdir()
    made(Folder(tmp_path / "empty", SETTINGS))
    assert (tmp_path / "empty" / "train.csv").is_file()


def test_what_an_exception_interrupts_goes_on_there(tmp_path):
    folder = Folder(tmp_path / "out", SETTINGS)
    with pytest.raises(RuntimeError), folder.begun() as unfinished, folder.appearing({}) as new:
        (unfinished / "kept").touch()
        (new / "half").touch()
        raise RuntimeError
    assert not folder.path.exists() and (folder.unfinished / "kept").exists()
    with pytest.raises(InputError, match=r"out\.unfinished: was extracted with features some, expected others"):
        with Folder(folder.path, SETTINGS | {"features": "others"}).begun():
            pass
    made(folder)
    assert {path.name for path in folder.path.iterdir()} == {"train.csv", "extraction.json"}


def test_two_processes_cannot_extract_into_one_folder(tmp_path):
    with Folder(tmp_path / "out", SETTINGS).begun():
        with pytest.raises(InputError, match=r"out\.unfinished: another process is extracting there"):
            with Folder(tmp_path / "out", SETTINGS).begun():
                pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "expected a new folder to extract into, found a file"),
        ("others", "expected a new or an empty folder, found files, which are kept"),
        ("other", r"was extracted with files {'train.csv': '12'}, expected {'train.csv': '13'}; choose another folder"),
        ("damaged", "expected a folder that dtrm-extract has written, found list"),
    ],
)
def test_other_folders_are_refused(tmp_path, name, message):
    path = tmp_path / name
    if name == "file":
        path.touch()
    elif name == "others":
        path.mkdir()
        (path / "thesis.txt").touch()
    else:
        made(Folder(path, SETTINGS))
    if name == "damaged":
        (path / "extraction.json").write_text("[]")
    with pytest.raises(InputError, match=message):
        Folder(path, SETTINGS | {"files": {"train.csv": "13"}}).complete()


def test_what_a_process_left_that_was_killed_at_the_very_end_is_removed(tmp_path):
    folder = Folder(tmp_path / "out", SETTINGS)
    made(folder)
    folder.unfinished.mkdir()
    (folder.unfinished / "extraction.json").write_text(json.dumps(SETTINGS))
    assert folder.complete() is not None and not folder.unfinished.exists()


def test_a_folder_of_people_beside_it_is_kept(tmp_path):
    folder = Folder(tmp_path / "out", SETTINGS)
    folder.unfinished.mkdir()
    (folder.unfinished / "thesis.txt").write_text("mine")
    message = r"out\.unfinished: expected a folder that dtrm-extract has begun, found thesis\.txt, which is kept"
    for extract in (folder.complete, lambda: made(folder)):
        with pytest.raises(InputError, match=message):
            extract()
    assert [path.name for path in folder.unfinished.iterdir()] == ["thesis.txt"] and not folder.path.exists()


def test_what_a_process_left_that_was_killed_before_its_first_record_goes_on(tmp_path):
    folder = Folder(tmp_path / "out", SETTINGS)
    folder.unfinished.mkdir()
    for name in ("lock", ".extraction.json.0123.tmp"):
        (folder.unfinished / name).touch()
    assert folder.complete() is None
    made(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_process_that_is_killed_while_it_tidies_up_leaves_the_record_to_the_last(tmp_path, monkeypatch):
    folder = Folder(tmp_path / "out", SETTINGS)

    def killed(path):
        assert [one.name for one in path.iterdir()] == ["extraction.json"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), folder.begun() as unfinished:
        (unfinished / "clips.sqlite").touch()
        monkeypatch.setattr("shutil.rmtree", killed)
    monkeypatch.undo()
    made(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
