"""Where numbers come from: complete, without names of people and places, and in words on every page."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import dtrm_jax
from dtrm_jax import provenance as module
from dtrm_jax.provenance import cores, made_with, provenance, trained_with

ROOT = Path(__file__).parents[1]
WHOLE = {
    "command": ["python", "train.py", "--config", "meld"],
    "versions": {"python": "3.11.7", "dtrm_jax": "1.2.3", "jax": "0.9.0"},
    "code": {"commit": "0123456789abcdef", "changed": True},
    "machine": {"system": "Linux-6", "processor": "Ryzen", "cores": 8, "processes": 2, "devices": "2 x H100 (gpu)"},
    "variables": {"XLA_FLAGS": "--xla_x"},
}
PACKAGES = "python 3.11.7, jax 0.9.0"


def elsewhere(step, **changes):
    return {**WHOLE, **changes, "starts": [{"time": "2026-01-02T03:04:05+00:00", "step": step}]}


def test_it_tells_the_versions_the_machine_and_the_command():
    found = provenance()
    assert found == json.loads(json.dumps(found))
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["dtrm_jax"] == dtrm_jax.__version__
    for name in ("jax", "jaxlib", "flax", "optax", "numpy"):
        assert found["versions"][name] == importlib.metadata.version(name)
    assert found["machine"]["devices"] == f"{jax.device_count()} x cpu (cpu)"
    assert found["machine"]["cores"] == cores() and found["machine"]["processor"]
    assert found["command"][0].startswith("python")


def test_no_name_of_a_person_a_machine_or_a_place_is_told(monkeypatch):
    home = "/home/Ann Smith"
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/srv/ann/dump --xla_cpu_x=3")
    words = {
        f"{home}/.venv/bin/python": "python",
        f"{home}/train.py": ".../train.py",
        "--config": "--config",
        "meld": "meld",
        f"--config.data.source={home}/My Corpora/meld": "--config.data.source=.../meld",
        f"--files={home}/a.csv,/srv/ann/b.csv": "--files=.../a.csv,.../b.csv",
        f"--files=['{home}/a.csv', '{home}/b.csv']": "--files=['.../a.csv', '.../b.csv']",
        "~/runs/a": ".../a",
        "~ann/runs/a": ".../a",
        home: "~",
        f"--workdir={home}/": "--workdir=~",
        r"C:\\Users\\ann\\runs": ".../runs",
        "file:///home/ann/runs": ".../runs",
        "runs/a": "runs/a",
        "gs://bucket/runs": "gs://bucket/runs",
        "": "",
    }
    monkeypatch.setattr(sys, "orig_argv", list(words))
    found = provenance()
    assert found["command"] == list(words.values())
    assert found["variables"]["XLA_FLAGS"] == "--xla_dump_to=.../dump --xla_cpu_x=3"
    text = json.dumps(found)
    for secret in ("Ann", "ann/", "Smith", "Corpora", "srv", os.uname().nodename):
        assert secret not in text, secret


def test_code_and_long_words_are_cut(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-c", "open('/home/ann/x')", "-c", "x" * 10_000])
    assert provenance()["command"] == ["python3", "-c", "...", "-c", "x" * 200]
    monkeypatch.setattr(sys, "orig_argv", [])
    assert provenance()["command"] == []


def _git(folder, *arguments):
    named = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *named, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_and_whether_the_package_differs_from_it(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("a = 1\n")
    assert module._code(package) == module._fetched(), "no repository"
    _git(tmp_path, "init", "-q")
    assert module._code(package) is None, "no commit yet"
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    code = module._code(package)
    assert re.fullmatch(r"[0-9a-f]{40}", code["commit"]) and code["changed"] is False
    (tmp_path / "notes.txt").write_text("of no concern\n")
    assert module._code(package) == code
    (package / "b.py").write_text("b = 1\n")
    assert module._code(package) == code | {"changed": True}
    (package / "b.py").unlink()
    (package / "a.py").write_text("a = 2\n")
    assert module._code(package) == code | {"changed": True}
    inside = package / "site-packages/dtrm_jax"
    inside.mkdir(parents=True)
    assert module._code(inside) == module._fetched(), "another project's repository is not ours"


def test_without_git_nothing_is_known_of_the_code(monkeypatch, tmp_path):
    _git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._code(tmp_path / "package") is None


def test_what_pip_fetched_has_the_commit_that_it_says(monkeypatch):
    class Distribution:
        def read_text(self, name):
            return (
                json.dumps({"url": "x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}) if "direct" in name else None
            )

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    assert module._fetched() == {"commit": "abc", "changed": False}
    monkeypatch.setattr(Distribution, "read_text", lambda self, name: None)
    assert module._fetched() is None


def test_in_words():
    assert made_with("evaluated", WHOLE, {"conversations": "1a", "features": "2b"}) == {
        "evaluated by": "python train.py --config meld",
        "evaluated with": f"dtrm_jax 1.2.3, commit 0123456789ab, changed since; {PACKAGES}; "
        "2 x H100 (gpu), Ryzen, 8 cores, 2 processes, Linux-6, XLA_FLAGS=--xla_x",
        "digests of the data": "conversations 1a, features 2b",
    }
    assert made_with("evaluated", WHOLE | {"code": None, "variables": {}})["evaluated with"] == (
        f"dtrm_jax 1.2.3; {PACKAGES}; 2 x H100 (gpu), Ryzen, 8 cores, 2 processes, Linux-6"
    )
    assert made_with("evaluated", None) == made_with("evaluated", {}) == {}


@pytest.mark.parametrize("value", [None, 3, "x", [], [[[]]], {"a": {}}, {"commit": None}, {"cores": "\x1b[1m\n"}])
@pytest.mark.parametrize("name", WHOLE)
def test_whatever_a_file_says_it_is_printable(name, value):
    for text in made_with("evaluated", WHOLE | {name: value}, {"x": value}).values():
        assert text.isprintable() and len(text) <= 1100


def test_each_surrounding_of_a_training_has_its_first_step():
    assert trained_with([]) == {}
    assert list(trained_with([elsewhere(0)])) == ["trained by", "trained with"]
    found = trained_with([elsewhere(0), elsewhere(70, versions={"jax": "1.0"})])
    assert list(found) == [f"trained, from step {step} on, {word}" for step in (0, 70) for word in ("by", "with")]
    assert found["trained, from step 70 on, with"].startswith("commit 0123456789ab, changed since; jax 1.0; 2 x H100")


def test_of_very_many_surroundings_the_first_and_the_last_are_told():
    found = trained_with([elsewhere(step) for step in range(40)])
    assert [term for term in found if term.endswith(("with", "elsewhere"))] == [
        "trained, from step 0 on, with",
        "trained elsewhere",
        *(f"trained, from step {step} on, with" for step in (36, 37, 38, 39)),
    ]
    assert found["trained elsewhere"].startswith("35 times in between")


def test_cores_are_those_that_the_process_is_bound_to(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == os.cpu_count()
