"""Evaluations of other data than the run's: each in a folder of its own, none replaced."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtrm_jax import api
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.destination import destination, make_room
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.report.__main__ import main as draw
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training import loop
from tests.runs import ROOT, environment, tiny_run_config

FILES = {"metrics.json", "predictions.csv", "analysis.json", "report.html"}
WORDS = {"joy": "great lovely fun", "anger": "stop it now", "neutral": "the train leaves"}


def tables(folder: Path, word: str = "well", labels: tuple[str, ...] = tuple(WORDS)) -> Path:
    """Writes a small corpus; ``word`` is in every text of the test split, so that it tells the corpora apart."""
    folder.mkdir(parents=True)
    for split, count in (("train", 6), ("dev", 2), ("test", 3)):
        rows = ["conversation,turn,speaker,text,label"]
        for number in range(count):
            for turn, label in enumerate(labels):
                text = f"{word if split == 'test' else ''} {list(WORDS.values())[turn]}".strip()
                rows.append(f"{split}{number},{turn},{'AB'[turn % 2]},{text},{label}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run on a table of its own, in a folder that a test copies: ``run`` beside ``data/mine``."""
    home = tmp_path_factory.mktemp("home")
    config = tiny_run_config(home / "cache")
    config.data.name, config.data.source = "table", str(tables(home / "data" / "mine"))
    config.model.encoder.layers, config.train.epochs, config.train.save_every_steps = 1, 1, 0
    loop.train(config, str(home / "run"))
    return home


@pytest.fixture
def run(trained, tmp_path) -> RunDirectory:
    shutil.copytree(trained / "run", tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def evaluations(run: RunDirectory) -> set[str]:
    return {folder.name for folder in (run.path / "eval").iterdir()}


def test_the_command_evaluates_other_data_in_a_folder_of_its_own(run, tmp_path):
    def evaluate(*arguments: str) -> str:
        command = [sys.executable, "eval.py", "--checkpoint", str(run.path), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "not what the run was trained on" not in evaluate()
    before = contents(run.evaluation("test"))
    assert before.keys() == FILES
    shown = evaluate("--source", str(tables(tmp_path / "Their talks (2)", "hello")))
    assert "data of Their talks (2), which is not what the run was trained on" in shown
    folder = run.evaluation("test@Their-talks-2")
    assert f"written to {folder}; to read: {folder / 'report.html'}" in shown
    assert contents(run.evaluation("test")) == before, "the first evaluation has changed"
    own, other = (json.loads((run.evaluation(name) / "metrics.json").read_text()) for name in ("test", folder.name))
    assert own["source"] is None and own["data"] == run.read_manifest().data
    assert other["source"] == "Their talks (2)" and other["corpus"] == "table" and other["n"] == 9
    assert other["data"].keys() == {"conversations"} and other["data"] != own["data"]
    assert {turn.text.split()[0] for turn in predictions.read(folder / "predictions.csv")[0]} == {"hello"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "of Their talks (2), which is not the data that the run was trained on" in page
    assert "--source &#39;.../Their talks (2)&#39; --name Their-talks-2" in page
    # The page is drawn again from this folder alone.
    (folder / "report.html").unlink()
    assert draw([str(run.path), "--split", folder.name]) == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == page


def test_the_fingerprint_decides_and_not_the_place(run, trained, tmp_path):
    moved = shutil.copytree(trained / "data" / "mine", tmp_path / "elsewhere")
    assert api.evaluate(run, source=str(moved))["source"] is None and evaluations(run) == {"test"}
    before = contents(run.evaluation("test"))
    for word in ("one", "two"):
        scores = api.evaluate(run, source=str(tables(tmp_path / word / "talks", word)))
        assert scores["source"] == "talks"
    assert {"test", "test@talks"} < evaluations(run) and len(evaluations(run)) == 3
    (second,) = evaluations(run) - {"test", "test@talks"}
    assert second.startswith("test@talks-")
    words = {
        name: predictions.read(run.evaluation(name) / "predictions.csv")[0][0].text.split()[0]
        for name in ("test@talks", second)
    }
    assert words == {"test@talks": "one", second: "two"}
    # Each again is found again: its files are the same, but for when they were made.
    dated = {"metrics.json", "report.html"}
    found = {name: contents(run.evaluation(name)) for name in evaluations(run)}
    for word in ("one", "two"):
        api.evaluate(run, source=str(tmp_path / word / "talks"))
    again = {name: contents(run.evaluation(name)) for name in evaluations(run)}
    assert again.keys() == found.keys()
    for name, files in found.items():
        assert {file: digest for file, digest in again[name].items() if file not in dated} == {
            file: digest for file, digest in files.items() if file not in dated
        }
    assert contents(run.evaluation("test")) == before


def test_data_that_has_changed_where_it_lies_is_other_data(run, tmp_path):
    tables(tmp_path / "mine")
    settings = json.loads((run.path / "config.json").read_text())
    settings["data"]["source"] = str(tmp_path / "mine")
    (run.path / "config.json").write_text(json.dumps(settings))
    (run.path / "SHA256SUMS").unlink()
    assert api.evaluate(run)["source"] is None
    before = contents(run.evaluation("test"))
    shutil.rmtree(tmp_path / "mine")
    tables(tmp_path / "mine", "changed")
    assert api.evaluate(run)["source"] == "mine" and evaluations(run) == {"test", "test@mine"}
    assert contents(run.evaluation("test")) == before


def test_a_name_can_be_chosen_and_is_kept_for_its_data(run, tmp_path):
    api.evaluate(run, name="first")
    assert evaluations(run) == {"test@first"}
    before = contents(run.evaluation("test@first"))
    other = str(tables(tmp_path / "other", "hello"))
    with pytest.raises(InputError, match=r"test@first: holds the evaluation of other data; choose another name"):
        api.evaluate(run, source=other, name="first")
    for bad in ("a/b", "..", "", "a b"):
        with pytest.raises(InputError, match="name: expected letters, digits"):
            api.evaluate(run, source=other, name=bad)
    assert evaluations(run) == {"test@first"} and contents(run.evaluation("test@first")) == before


def test_a_damaged_file_of_scores_is_one_line(tmp_path):
    run = RunDirectory(tmp_path)
    file = run.evaluation("test@mine") / "metrics.json"
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    with pytest.raises(InputError, match=r"metrics\.json: expected a JSON object, found list"):
        destination(run, "test", {}, source=None, name="mine")
    assert make_room(file.parent, 1) == [f"{file.parent}: the results of step 1 replace those of others"]


def test_a_run_whose_data_was_not_kept_replaces_nothing_of_its_own(run, trained, tmp_path):
    manifest = json.loads((run.path / "run.json").read_text()) | {"data": {}}
    (run.path / "run.json").write_text(json.dumps(manifest))
    (run.path / "SHA256SUMS").unlink()
    assert api.evaluate(run)["source"] is None
    assert api.evaluate(run, source=str(trained / "data" / "mine"))["source"] is None
    moved = shutil.copytree(trained / "data" / "mine", tmp_path / "elsewhere")
    assert api.evaluate(run, source=str(moved))["source"] == "elsewhere"
    assert evaluations(run) == {"test", "test@elsewhere"}


def test_data_of_other_emotions_is_refused(run, tmp_path):
    other = tables(tmp_path / "other", labels=("joy", "fear", "neutral"))
    with pytest.raises(InputError, match="trained on anger, joy, neutral, the data has fear, joy, neutral"):
        api.evaluate(run, source=str(other))
    assert not (run.path / "eval").exists()
