"""The package as ``pip install .`` leaves it: the commands, the configs and the templates travel with it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from dtrm_jax import __version__
from tests.runs import ONE_LAYER, ROOT, environment


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Builds the wheel from a copy, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("dtrm_jax", "configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    requirements = ("requirements.txt", "requirements-serve.txt", "requirements-audio.txt")
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE", *requirements):
        shutil.copy(ROOT / file, source)
    _pip("wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", str(out), str(source))
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def commands(wheel, tmp_path_factory) -> Path:
    """Installs the wheel into a new environment, which borrows all other packages; returns where its commands are."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    _pip("--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    ).stdout.strip()
    Path(purelib, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def test_the_wheel_holds_what_is_needed_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.startswith(f"dtrm_jax-{__version__}-py3-none-any")
    about = f"dtrm_jax-{__version__}.dist-info/"
    assert {name.split("/")[0] for name in names} == {"dtrm_jax", about[:-1]}
    expected = {str(file.relative_to(ROOT)) for file in (ROOT / "dtrm_jax").rglob("*.py")}
    for room in ("report", "serving", "sharing"):
        templates = (ROOT / f"dtrm_jax/{room}/templates").rglob("*")
        expected |= {str(file.relative_to(ROOT)) for file in templates if file.is_file()}
    expected |= {f"dtrm_jax/configs/{file.name}" for file in (ROOT / "configs").glob("*.py")}
    assert {name for name in names if not name.startswith(about)} == expected
    assert f"{about}licenses/LICENSE" in names


def test_the_installed_commands_train_evaluate_and_predict_from_an_empty_folder(commands, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess:
        settings = {name: value for name, value in environment(tmp_path / "cache").items() if name != "PYTHONPATH"}
        return subprocess.run(
            [commands / command, *arguments],
            cwd=folder,
            env=settings | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    # planted is built on demo: both are found without the checkout.
    small = ("--config.data.planted.train=10", "--config.data.planted.dev=4", "--config.data.planted.test=4")
    trained = run("dtrm-train", "--config=planted", *small, "--config.train.epochs=1", *ONE_LAYER)
    assert trained.returncode == 0, trained.stderr
    assert "evaluate with: dtrm-eval --checkpoint runs/planted --split test" in trained.stdout
    evaluated = run("dtrm-eval", "--checkpoint", "runs/planted")
    assert evaluated.returncode == 0, evaluated.stderr
    assert (folder / "runs/planted/eval/test/report.html").stat().st_size > 10_000
    (folder / "talk.txt").write_text("Ann: Hello!\n")
    predicted = run("dtrm-predict", "--checkpoint", "runs/planted", "talk.txt", "--output", "talk")
    assert predicted.returncode == 0, predicted.stderr
    assert (folder / "talk/predictions.csv").read_text().startswith("conversation,turn,speaker,text,prediction,p_")
    assert (folder / "talk/report.html").stat().st_size > 10_000
    unknown = run("dtrm-train", "--config", "mled")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1
    assert "the configs that come with the package are avec, dailydialog, demo, " in unknown.stderr
