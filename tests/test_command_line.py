"""The scripts as a user runs them: one-line errors, exit codes, and the path from training to evaluation."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dtrm_jax.experiments.tables import NAMES, table
from tests.runs import ONE_LAYER, ROOT, environment

ROWS = (*NAMES, *(row.variant.name for name in NAMES for row in table(name, "ua").rows))
SMALL = ("--config.train.epochs=1", "--config.data.planted.train=12", "--config.data.planted.dev=4", *ONE_LAYER)


def _run(cache: Path, script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, script, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(cache), capture_output=True, text=True, timeout=300)


def test_train_then_eval(tmp_path):
    workdir = tmp_path / "run"
    trained = _run(tmp_path / "cache", "train.py", "--config", "configs/demo.py", *SMALL, "--workdir", str(workdir))
    assert trained.returncode == 0, trained.stderr
    assert f"python eval.py --checkpoint {workdir}" in trained.stdout
    evaluated = _run(tmp_path / "cache", "eval.py", "--checkpoint", str(workdir), "--split", "dev", "--step", "latest")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "Intra-ES" in evaluated.stdout
    assert "weighted F1" in evaluated.stdout and str(workdir / "eval" / "dev") in evaluated.stdout
    assert evaluated.stderr == ""
    longer = _run(tmp_path / "cache", "train.py", "--workdir", str(workdir), "--config.train.epochs=2")
    assert longer.returncode == 0, longer.stderr
    assert "2 epochs instead of 1: the learning rates, at 0 % of their peak" in longer.stdout


def test_the_hint_after_training_is_of_a_split_that_there_is():
    code = (
        "import sys; from dtrm_jax.commands import train\n"
        "for sys.argv[0], splits in (('train.py', ('train', 'dev', 'test')), ('/bin/dtrm-train', ('train', 'dev'))):\n"
        "    print(train._evaluation('runs/my run', splits))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [
        "python eval.py --checkpoint 'runs/my run' --split test",
        "dtrm-eval --checkpoint 'runs/my run' --split dev",
    ]


@pytest.mark.parametrize(
    ("script", "flags", "listed"),
    [
        (("train.py",), ("--config", "--workdir", "--distributed"), ("meld_minilm", "config.train")),
        (("eval.py",), ("--checkpoint", "--split", "--step", "--source"), ()),
        (("predict.py",), ("--checkpoint", "--output", "--[no]stream"), ()),
        (("-m", "dtrm_jax.commands.extract"), ("--output", "--features", "--workers", "--columns", "--run"), ()),
        (("-m", "dtrm_jax.commands.export"), ("--dtype", "--license", "--[no]prune"), ()),
        (("predict.py",), ("--checkpoint", "--step", "--output", "--format", "--columns", "--[no]stream"), ()),
        (("-m", "dtrm_jax.experiments"), ("--config", "--seeds", "--only", "--[no]collect"), ("meld_minilm", *ROWS)),
    ],
)
def test_help_tells_what_the_command_does_and_takes(tmp_path, script, flags, listed):
    result = _run(tmp_path, *script, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    shown = result.stdout
    assert " ".join(("python", *script)) in shown and "--help_settings PATTERN" in shown
    assert not [flag for flag in (*flags, "--[no]debug") if f"  {flag}: " not in shown]
    names = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert not [name for name in listed if name not in names]
    assert max(map(len, shown.splitlines())) <= 80


def test_settings_are_explained_without_a_run_and_a_reader_may_stop_reading(tmp_path):
    result = _run(tmp_path, "eval.py", "--help_settings", "patience")
    assert result.returncode == 0 and result.stdout.startswith("--config.train.patience=0\n    Evaluations without")
    command = f"{sys.executable} train.py --help | head -1"
    piped = subprocess.run(command, shell=True, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True)
    assert piped.stdout.startswith("Trains a model") and piped.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "configs/none.py"), "No such file or directory: 'configs/none.py'"),
        (("--config", "mled"), "no config is called 'mled'; the configs that come with the package are avec, "),
        (("--config=demo", "--config.train.epochs=0"), "config.train.epochs: expected a number from 1"),
        (("--config", "mled"), "; did you mean meld?"),
        (
            ("--config", "planted", "--config.train.epoch=3"),
            "--config.train.epoch=3: no such setting; --help_settings ",
        ),
        (("--config", "configs/demo.py", "--config.train.epoch=3"), "; did you mean --config.train.epochs?"),
        (("--config", "demo", "--noconfig.train.score"), "; did you mean --config.train.score_test?"),
        (("--config", "demo", "--config.train=3"), "--config.train=3: a section of settings, expected one of them"),
        (("--config", "configs/demo.py", "--config.train.epochs=many"), "--config.train.epochs=many: invalid literal"),
        (("--config", "configs/demo.py", "--config.train.epochs=0"), "config.train.epochs: expected a number from 1"),
        (("--config", "configs/iemocap_minilm.py"), "iemocap.pkl"),
        (("--config", "configs/meld_minilm.py", "--config.data.source=/nowhere"), "train_sent_emo.csv"),
        (("--config", "configs/demo.py", "extra"), "unexpected argument 'extra'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, arguments, message):
    result = _run(tmp_path, "train.py", *arguments, "--workdir", str(tmp_path / "run"))
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("1 / 0", ", line 2: ZeroDivisionError: division by zero"),
        ("pass", ": expected get_config() to return a Config"),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line(tmp_path, body, message):
    file = tmp_path / "mine.py"
    file.write_text(f"def get_config():\n    {body}\n")
    result = _run(tmp_path, "train.py", "--config", str(file))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {file}{message}") and result.stderr.count("\n") == 1


def test_experiments_take_the_name_of_a_table(tmp_path):
    for arguments in ((), ("table9",), ("planted", "more")):
        command = [sys.executable, "-m", "dtrm_jax.experiments", *arguments, "--config", "configs/demo.py"]
        result = subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 2
        found = {(): "nothing", ("table9",): "table9; did you mean table6?"}.get(arguments, " ".join(arguments))
        assert result.stderr == f"error: expected one of {', '.join(NAMES)}, found {found}\n"


@pytest.mark.parametrize(
    ("config", "message"),
    [("demo", "expected the record of a run of planted, found none"), ("mled", "no config is called 'mled'")],
)
def test_experiments_take_the_name_of_a_config(tmp_path, config, message):
    small = ("--config.data.planted.train=2", "--config.data.planted.dev=2", "--config.data.planted.test=2")
    command = [
        sys.executable,
        "-m",
        "dtrm_jax.experiments",
        "planted",
        "--collect",
        "--workdir",
        str(tmp_path / "none"),
    ]
    result = subprocess.run(
        [*command, "--config", config, *small], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True
    )
    assert result.returncode == 2 and message in result.stderr.splitlines()[-1]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, "train.py", "--config", "configs/demo.py", "--workdir", str(workdir)]
    arguments = ("--config.train.save_every_steps=1", "--config.train.epochs=500")
    with subprocess.Popen(
        [*command, *SMALL, *arguments],
        cwd=ROOT,
        env=environment(tmp_path / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not list((workdir / "checkpoints").glob("[0-9]")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGINT
    assert "interrupted at step" in output and "resumes" in output
