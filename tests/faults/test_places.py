"""Places that are read-only, that others use at the same moment, or that are gone: one line, and the run goes on."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import assert_same_run, error_of, finish, run, start, steps, training, until

_REFUSED = ("Read-only file system", "Permission denied")


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory) -> Path:
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(training(workdir, epochs=8), cache)[0] == 0
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
    command = training(workdir, epochs=8)
    process = start(command, cache)
    assert until(process, lambda: steps(workdir))
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    return command


def predicting(checkpoint: Path, talk: Path, output: Path) -> list[str]:
    return [sys.executable, "predict.py", f"--checkpoint={checkpoint}", f"--output={output}", str(talk)]


@pytest.fixture
def talk(tmp_path) -> Path:
    (tmp_path / "talk.txt").write_text("Ann: I passed!\nBob: Oh, great.\n")
    return tmp_path / "talk.txt"


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
        assert run(training(tmp_path / "run", epochs=8), kept)[0] == 0
        assert_same_run(tmp_path / "run", whole)
        ended = run(training(tmp_path / "other", epochs=8), empty)
        refusal(ended, empty)
        assert "prepared data cannot be written" in ended[2] and "--config.data.cache=DIR" in ended[2]
        refusal(run(training(kept / "run", epochs=8), cache), kept)
    assert contents(kept) == before and not [*empty.iterdir()]
    count("Read-only caches", tried=3, survived=1, refused=2, lost=0, silent=0, tracebacks=0, hangs=0)


def test_read_only_outputs(cache, whole, talk, tmp_path, thorough, count):
    place = tmp_path / "place"
    place.mkdir()
    commands = [predicting(whole, talk, place / "out.csv")]
    if thorough:
        commands += [
            predicting(whole, talk, place / "folder"),
            predicting(whole, talk, place),
            [sys.executable, "-m", "dtrm_jax.commands.export", str(whole), str(place / "shared")],
            [sys.executable, "-m", "dtrm_jax.commands.export", str(whole), str(place)],
        ]
    with read_only(place):
        for command in commands:
            refusal(run(command, cache), place)
    assert not [*place.iterdir()] and {path.name for path in tmp_path.iterdir()} == {"place", "talk.txt"}
    tried = len(commands)
    count("Read-only places for predictions and exports", tried=tried, survived=0, refused=tried, lost=0, tracebacks=0)


def test_trainings_on_one_directory(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdir = tmp_path / "run"
    command = training(workdir, epochs=8)
    together = [start(command, cache) for _ in range(3)]  # on a directory that does not exist yet
    ended = [finish(process) for process in together]
    assert sorted(status for status, _, _ in ended) == [0, 2, 2], ended
    for refused in (one for one in ended if one[0]):
        assert f"{workdir}: another process is training this run" in error_of(refused)
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
    count(title, tried=5, survived=2, refused=3, lost=0, silent=0, tracebacks=0, hangs=0)


def test_trainings_on_one_new_cache(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdirs = [tmp_path / name for name in "abc"]
    together = [start(training(workdir, epochs=8), tmp_path / "new") for workdir in workdirs]
    assert [finish(process)[0] for process in together] == [0, 0, 0]
    for workdir in workdirs:
        assert_same_run(workdir, whole)
    assert not [*(tmp_path / "new").rglob("*.tmp")]
    count("Trainings that prepare the same data", tried=3, survived=3, lost=0, silent=0, tracebacks=0, hangs=0)


def test_another_process_stops_while_it_writes_the_cache(cache, whole, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    new = tmp_path / "new"
    first = start(training(tmp_path / "first", epochs=8), new)
    assert until(first, lambda: [*new.glob("planted/*/*.tmp")], every=0)
    first.send_signal(signal.SIGSTOP)
    assert [*new.glob("planted/*/*.tmp")] and not [*new.glob("planted/*/conversations")], "it was to stop half-way"
    assert run(training(tmp_path / "second", epochs=8), new)[0] == 0
    with contextlib.ExitStack() as locks:  # of which nothing here knows
        for file in (file for file in new.rglob("*") if file.is_file()):
            fcntl.flock(locks.enter_context(file.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert run(training(tmp_path / "third", epochs=8), new)[0] == 0
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
