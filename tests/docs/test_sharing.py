"""docs/sharing.md, followed to the letter: what it tells to type runs, from a run directory to predictions."""

import re
import shlex
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import dtrm_jax
from dtrm_jax.inference.exported import rounded
from dtrm_jax.run_directory import RunDirectory
from tests.runs import ROOT, environment, tiny_run_config
from tests.trained import random_run

TURNS = [("Ann", "I passed!"), ("Bob", "Oh, great.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``runs/meld``, whose data is gone."""
    folder = tmp_path_factory.mktemp("shared")
    config = tiny_run_config(folder / "cache")
    random_run(config, folder / "runs/meld")
    shutil.rmtree(folder / "cache")
    return folder


def _export(folder, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dtrm_jax.commands.export", *arguments]
    settings = environment(folder / "cache") | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=300)


def test_the_page_runs_from_top_to_bottom(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
    exact = [list(turn.probabilities.values()) for turn in dtrm_jax.load("runs/meld").predict(TURNS)]
    params = dtrm_jax.load("runs/meld").trained.params
    printed = []
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if language == "python":
            exec(block, {})
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            done = _export(folder, *arguments)
            assert program == "dtrm-export" and (done.returncode, done.stderr) == (0, ""), done.stderr
            printed.append(done.stdout)
    shared, small, pruned = printed
    assert "model.safetensors " in shared and "no scores: evaluate RUN first" in shared
    assert re.search(r"float16 instead of float32: of \d+ turns \(generated\) no number changes by more than ", small)
    assert re.search(r"runs/meld: [\d.]+ [kM]B before, [\d.]+ [kM]B now: the parameters of step 7 are left", pruned)
    assert RunDirectory("runs/meld").is_pruned()
    assert len(capsys.readouterr().out.strip().splitlines()) == 3, "a line for each turn"
    for source in ("moods", "runs/meld"):
        assert [list(turn.probabilities.values()) for turn in dtrm_jax.load(source).predict(TURNS)] == exact
    half = dtrm_jax.load("moods-small").trained.params
    jax.tree.map(np.testing.assert_array_equal, half, rounded(params, "float16"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs/meld",), "expected RUN and FOLDER, found runs/meld"),
        (("runs/meld", "new", "--prune"), "expected RUN with --prune, found runs/meld new"),
        (("runs/none", "new"), "runs/none/config.json: expected a run directory"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(folder, arguments, message):
    result = _export(folder, *arguments)
    assert result.returncode == 2 and message in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert not (folder / "new").exists() and not (folder / "runs/none").exists()
