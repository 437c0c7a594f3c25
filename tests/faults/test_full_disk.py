"""A full disk at every kind of write: one line that names the file, and afterwards the run goes on bit for bit."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.commands import assert_same_run, error_of, run, steps, training
from tests.runs import ROOT, environment


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(training(workdir, epochs=1), cache)[0] == 0
    return workdir


@contextlib.contextmanager
def disk(folder: Path, kilobytes: int):
    """Mounts a disk of that size, which only root can; yields a function that makes it larger."""
    folder.mkdir()
    options = f"size={kilobytes}k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=512m", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def limited(command: list[str], longest: int) -> list[str]:
    """Returns a command whose files can have so many bytes: what a quota does, without a disk of its own."""
    code = (
        "import os, resource, signal, sys; os.environ['JAX_COMPILATION_CACHE_DIR'] += '-of-full-disks'; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({longest}, resource.RLIM_INFINITY)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    return [sys.executable, "-c", code, *command]


def test_a_training_on_a_full_disk_is_one_line_and_goes_on(cache, whole, tmp_path, thorough, count):
    # The sizes are those at which the folder, the log, the first checkpoint or a later one is the first to fail.
    sizes = (8, 40, 90, 200, 350, 500, 700, 900, 1200, 1500) if thorough else (700,)
    for size in sizes:
        with disk(tmp_path / f"disk{size}", size) as enlarge:
            workdir = tmp_path / f"disk{size}" / "run"
            line = error_of(run(training(workdir, epochs=1), cache))
            assert "No space left on device" in line and str(workdir) in line, line
            if kept := steps(workdir):
                assert f"the newest good one is step {kept[-1]}" in line or "metrics.jsonl" in line, line
            enlarge()
            assert run(training(workdir, epochs=1), cache)[0] == 0
            assert_same_run(workdir, whole)
    count("Full disk while training", tried=len(sizes), survived=len(sizes), lost=0, silent=0, tracebacks=0, hangs=0)


def test_a_full_disk_while_data_is_prepared(whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    sizes = (4, 8, 16, 24, 32)
    for size in sizes:
        with disk(tmp_path / f"disk{size}", size) as enlarge:
            line = error_of(run(training(tmp_path / f"run{size}", epochs=1), tmp_path / f"disk{size}"))
            assert "prepared data cannot be written" in line and str(tmp_path / f"disk{size}") in line, line
            assert "--config.data.cache=DIR" in line
            enlarge()
            assert run(training(tmp_path / f"run{size}", epochs=1), tmp_path / f"disk{size}")[0] == 0
    count("Full disk while preparing data", tried=len(sizes), survived=len(sizes), lost=0, tracebacks=0, hangs=0)


def test_a_full_disk_while_evaluating_names_the_file(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    command = [sys.executable, "eval.py", "--checkpoint", str(whole)]
    limits = (100, 3_000)
    for limit in limits:
        line = error_of(run(limited(command, limit), cache))
        assert "File too large" in line and "/eval/test/" in line, line
        assert not [*whole.rglob("*.tmp")]
    assert run(command, cache)[0] == 0
    line = error_of(
        run(limited([*command[:1], "-m", "dtrm_jax.commands.export", str(whole), str(tmp_path / "out")], 999), cache)
    )
    assert "model.safetensors: cannot be written: File too large" in line, line
    assert not [*tmp_path.iterdir()]
    count("Full disk while evaluating and exporting", tried=3, refused=3, lost=0, silent=0, tracebacks=0, hangs=0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output(whole, cache):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "eval.py", "--checkpoint", str(whole), "--split=dev"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(cache),
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: standard output: No space left on device"]
