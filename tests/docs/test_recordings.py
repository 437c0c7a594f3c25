"""docs/recordings.md, followed to the letter: from recordings to scores and predictions in an empty folder."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dtrm_jax.data.readers import table
from tests.extraction.recordings import tone, write_wav
from tests.runs import ROOT, environment
from tests.stand_in import install_minilm

pytest.importorskip("opensmile", reason="needs openSMILE: pip install -r requirements-audio.txt")
pytest.importorskip("soundfile", reason="needs soundfile: pip install -r requirements-audio.txt")

COMMANDS = {"dtrm-train": "train", "dtrm-eval": "eval", "dtrm-predict": "predict", "dtrm-extract": "extract"}


def _speak(folder, code: str) -> None:
    """Makes the recordings: as the page does where espeak-ng is installed, and of tones elsewhere."""
    if shutil.which("espeak-ng"):
        (folder / "speak.py").write_text(code)
        subprocess.run([sys.executable, "speak.py"], cwd=folder, check=True)
        (folder / "speak.py").unlink()
        return
    with (folder / "talks.csv").open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if row["audio"]:
                write_wav(folder / row["audio"], tone(0.9 + number / 10, pitch=100 + 10 * number))


def test_the_page_runs_from_top_to_bottom(tmp_path):
    page = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")
    packages, folder = install_minilm(tmp_path / "packages"), tmp_path / "empty"
    folder.mkdir()
    for name, content in re.findall(r"^```csv (\S+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        (folder / name).write_text(content, encoding="utf-8")
    ((code),) = re.findall(r"^```python speak.py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    _speak(folder, code)
    settings = environment(tmp_path / "cache") | {"PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    printed = {}
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "python":
                assert arguments == ["-m", "pip", "install", "opensmile", "soundfile"]
                continue
            run = f"from dtrm_jax.commands.{COMMANDS[program]} import run; run()"
            command = [sys.executable, "-c", run, *arguments]
            done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{line}: {done.stderr}"
            printed[line] = done.stdout
    of = {(program, line.split()[-1]): text for line, text in printed.items() for program in [line.split()[0]]}
    assert "talks-heard: 10 of 11 turns with eGeMAPSv02" in of["dtrm-extract", "talks-heard"]
    assert "talks-read: 11 of 11 turns with a vector of 24 numbers" in of["dtrm-extract", "talks-read"]
    names = {"talks.csv", "tonight.csv", "clips", "runs", "talks-heard", "tonight-heard", "talks-read", "tonight"}
    assert {path.name for path in folder.iterdir()} == names
    # The command that each extraction proposes is the page's own, up to the name of the experiment.
    for output in ("talks-heard", "talks-read"):
        proposed = of["dtrm-extract", output].rpartition("train with: ")[2].strip()
        assert proposed in {line.replace(" --config.name=frozen", "") for line in printed}
    dataset = table.read(folder / "talks-read")
    assert dataset.feature_sizes() == {"utterance": 24, "acoustic": 88} and set(dataset.splits) == {"train", "dev"}
    turns = [turn.text for split in dataset.splits.values() for c in split for turn in c.turns]
    with (folder / "talks.csv").open(newline="") as file:
        assert sorted(turns) == sorted(row["text"] for row in csv.DictReader(file))
    with np.load(folder / "tonight-heard" / "train.npz") as arrays:
        assert np.isfinite(arrays["acoustic"]).all() and arrays["acoustic"].shape == (2, 88)
    with (folder / "tonight" / "predictions.csv").open(newline="") as file:
        assert [row["speaker"] for row in csv.DictReader(file)] == ["Bob", "Ann"]
