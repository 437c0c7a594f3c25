"""docs/own-data.md, followed to the letter: from a table to predictions in an empty folder."""

import csv
import re
import shlex
import subprocess
import sys
import time

import pytest

from dtrm_jax.evaluation.files import predictions
from tests.pages import parse
from tests.runs import ROOT, environment
from tests.stand_in import install_minilm

COMMANDS = {"dtrm-train": "train", "dtrm-eval": "eval", "dtrm-predict": "predict"}


def section(title: str) -> str:
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return text


@pytest.fixture
def installed(tmp_path):
    return install_minilm(tmp_path / "packages")


def test_three_commands_lead_from_a_table_to_predictions(installed, tmp_path):
    text = section("From a table to predictions")
    folder = tmp_path / "empty"
    folder.mkdir()
    files = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for name, content in files:
        (folder / name).write_text(content, encoding="utf-8")
    ((commands),) = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [shlex.split(line) for line in commands.splitlines()]
    assert [words[0] for words in lines] == ["dtrm-train", "dtrm-eval", "dtrm-predict"]
    settings = environment(tmp_path / "cache") | {"PYTHONPATH": f"{ROOT}:{installed}"}
    for program, *arguments in lines:
        began = time.monotonic()
        code = f"from dtrm_jax.commands.{COMMANDS[program]} import run; run()"
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=300)
        print(f"{time.monotonic() - began:5.1f} s  {program} {' '.join(arguments)}")
        assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"talks.csv", "tonight.txt", "runs", "tonight"}
    assert "written to tonight; to read: tonight/report.html" in done.stdout
    scored, task = predictions.read(folder / "runs/table/eval/dev/predictions.csv")
    assert scored and task.labels.names == ("anger", "joy", "neutral")
    with (folder / "tonight" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    spoken = [f"{row['speaker']}: {row['text']}" for row in rows]
    assert spoken == dict(files)["tonight.txt"].splitlines() and len(rows) == 3
    for row in rows:
        shares = {name: float(row[f"p_{name}"]) for name in task.labels.names}
        assert row["prediction"] == max(shares, key=shares.get) and abs(sum(shares.values()) - 1) < 1e-5
    page = parse((folder / "tonight" / "report.html").read_text(encoding="utf-8"))
    assert [one.find("p", class_="v").text for one in page.find_all("li", class_="t")] == [
        row["prediction"] for row in rows
    ]
