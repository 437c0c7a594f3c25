"""Places that are read-only, that others use at the same moment, or that are gone: one line, and the run goes on."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrm_jax.config import PlantedConfig
from tests.faults.commands import SMALL, assert_same_run, error_of, finish, run, start, steps, training, until

_REFUSED = ("Read-only file system", "Permission denied")


def trained(workdir: Path) -> list[str]:
    return training(workdir, epochs=12, settings=SMALL)


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory) -> Path:
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(trained(workdir), cache)[0] == 0
    return workdir


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Lets nobody write into a folder: root neither, whom permissions do not stop, but the way it is mounted does."""
    if os.geteuid():
        below = [folder, *folder.rglob("*")]
        modes = {path: path.stat().st_mode for path in below}
        for path in below:
            path.chmod(modes[path] & 0o555)
        try:
            yield
        finally:
            for path in below:
                path.chmod(modes[path])
        return
    if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refusal(ended: tuple[int, str, str], place: Path) -> None:
    """Checks that a command refused to write below a place, in one line."""
    line = error_of(ended)
    assert str(place) in line and any(reason in line for reason in _REFUSED), line


def begun(cache: Path, workdir: Path) -> list[str]:
    """Trains until a signal after the first checkpoint; returns the command that goes on."""
    command = trained(workdir)
    process = start(command, cache)
    assert until(process, lambda: steps(workdir))
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    return command


def predicting(checkpoint: Path, talk: Path, output: Path) -> list[str]:
    return [sys.executable, "predict.py", f"--checkpoint={checkpoint}", f"--output={output}", str(talk)]


@pytest.fixture
def talk(tmp_path) -> Path:
    row = {"speaker": "Ann", "text": "I passed!", "acoustic": [0.5] * PlantedConfig().acoustic}
    (tmp_path / "talk.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    return tmp_path / "talk.jsonl"


def test_a_run_directory_that_has_become_read_only(cache, whole, talk, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdir = tmp_path / "run"
    command = begun(cache, workdir)
    before = contents(workdir)
    with read_only(workdir):
        refusal(run(command, cache), workdir)
        refusal(run([sys.executable, "eval.py", f"--checkpoint={workdir}", "--step=latest"], cache), workdir)
        # What only reads it works.
        assert run([*predicting(workdir, talk, tmp_path / "out.csv"), "--step=latest"], cache)[0] == 0
    assert contents(workdir) == before and (tmp_path / "out.csv").read_text().count("\n") == 3
    assert run(command, cache)[0] == 0
    assert_same_run(workdir, whole)
    title = "A run directory that has become read-only"
    count(title, tried=3, refused=2, survived=1, lost=0, silent=0, tracebacks=0, hangs=0)


def test_a_read_only_cache(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    kept, empty = Path(shutil.copytree(cache, tmp_path / "kept")), tmp_path / "empty"
    empty.mkdir()
    before = contents(kept)
    with read_only(kept), read_only(empty):
        assert run(trained(tmp_path / "run"), kept)[0] == 0
        assert_same_run(tmp_path / "run", whole)
        ended = run(trained(tmp_path / "other"), empty)
        refusal(ended, empty)
        assert "prepared data cannot be written" in ended[2] and "--config.data.cache=DIR" in ended[2]
        refusal(run(trained(kept / "run"), cache), kept)
    assert contents(kept) == before and not [*empty.iterdir()]
    count("Read-only caches", tried=3, survived=1, refused=2, lost=0, silent=0, tracebacks=0, hangs=0)


def test_read_only_outputs(cache, whole, talk, tmp_path, thorough, count):
    place, there = tmp_path / "place", tmp_path / "place/there"
    there.mkdir(parents=True)
    commands = [predicting(whole, talk, place / "out.csv")]
    if thorough:
        commands += [
            predicting(whole, talk, place / "folder"),
            predicting(whole, talk, there),
            [sys.executable, "-m", "dtrm_jax.commands.export", str(whole), str(place / "shared")],
            [sys.executable, "-m", "dtrm_jax.commands.export", str(whole), str(there)],
        ]
    with read_only(place):
        for command in commands:
            refusal(run(command, cache), place)
    assert [*place.rglob("*")] == [there] and {path.name for path in tmp_path.iterdir()} == {"place", "talk.jsonl"}
    tried = len(commands)
    count("Read-only places for predictions and exports", tried=tried, survived=0, refused=tried, lost=0, tracebacks=0)


def test_trainings_on_one_directory(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdir = tmp_path / "run"
    command = trained(workdir)
    together = [start(command, cache) for _ in range(3)]  # on a directory that does not exist yet
    ended = [finish(process) for process in together]
    refused = [one for one in ended if one[0]]  # one that came too late found a complete run
    assert len(refused) < len(ended)
    for one in refused:
        assert f"{workdir}: another process is training this run" in error_of(one)
    assert_same_run(workdir, whole)
    shutil.rmtree(workdir)
    first = start(command, cache)
    assert until(first, lambda: steps(workdir))
    first.send_signal(signal.SIGSTOP)  # it holds the directory however long that takes
    assert "another process is training this run" in error_of(run(command, cache))
    first.send_signal(signal.SIGCONT)
    assert finish(first)[0] == 0
    assert_same_run(workdir, whole)
    title = "Several trainings in one directory"
    refusals = len(refused) + 1
    count(title, tried=5, survived=5 - refusals, refused=refusals, lost=0, silent=0, tracebacks=0, hangs=0)


def test_trainings_on_one_new_cache(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdirs = [tmp_path / name for name in "abc"]
    together = [start(trained(workdir), tmp_path / "new") for workdir in workdirs]
    assert [finish(process)[0] for process in together] == [0, 0, 0]
    for workdir in workdirs:
        assert_same_run(workdir, whole)
    assert not [*(tmp_path / "new").rglob("*.tmp")]
    count("Trainings that prepare the same data", tried=3, survived=3, lost=0, silent=0, tracebacks=0, hangs=0)


# Runs a command that stops itself when it has prepared data but for the manifest.
_STOPS = """
import os, runpy, signal, sys
from dtrm_jax.data import prepared
write = prepared._write_manifest
prepared._write_manifest = lambda *given: (os.kill(os.getpid(), signal.SIGSTOP), write(*given))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _state(process: subprocess.Popen) -> str:
    """Returns what a process does: "T" is that it has been stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_another_process_stops_while_it_writes_the_cache(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    new, command = tmp_path / "new", trained(tmp_path / "first")
    first = start([command[0], "-c", _STOPS, *command[1:]], new)
    assert until(first, lambda: _state(first) == "T")
    assert [*new.glob("planted/*/*.tmp")] and not [*new.glob("planted/*/conversations/*")], "it was to stop half-way"
    assert run(trained(tmp_path / "second"), new)[0] == 0
    with contextlib.ExitStack() as locks:  # of which nothing here knows
        for file in (file for file in new.rglob("*") if file.is_file()):
            fcntl.flock(locks.enter_context(file.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert run(trained(tmp_path / "third"), new)[0] == 0
    first.send_signal(signal.SIGCONT)
    assert finish(first)[0] == 0
    for name in ("first", "second", "third"):
        assert_same_run(tmp_path / name, whole)
    assert not [*new.rglob("*.tmp")]
    title = "A cache that another process writes, or has locked"
    count(title, tried=3, survived=3, lost=0, silent=0, tracebacks=0, hangs=0)


def test_a_cache_that_is_gone_or_damaged_when_a_run_goes_on(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    own, workdir = Path(shutil.copytree(cache, tmp_path / "own")), tmp_path / "run"
    (records,) = own.glob("planted/*/conversations/*")

    def cut() -> None:
        for file in records.glob("*array_record*"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def flip() -> None:
        for file in records.iterdir():
            content = file.read_bytes()
            file.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])

    damages = (cut, flip, lambda: shutil.rmtree(records), lambda: shutil.rmtree(own))
    for damage in damages:
        command = begun(own, workdir)
        damage()
        status, _, err = run(command, own)
        assert status == 0 and "preparing PLANTED" in err, err
        assert ("prepared data is damaged" in err) == (damage in (cut, flip)), err
        assert_same_run(workdir, whole)
        shutil.rmtree(workdir)
    count("Prepared data gone or damaged", tried=4, survived=4, lost=0, silent=0, tracebacks=0, hangs=0)
