"""SIGKILL at random times and in the middle of checkpoints: the run goes on, and is at its end bit for bit the same."""

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.commands import (
    SMALL,
    assert_same_run,
    finish,
    random_waits,
    run,
    start,
    steps,
    training,
    unfinished,
    until,
)

RUNS, KILLS = 4, 26  # more than a hundred


@pytest.fixture(scope="module")
def epochs(thorough) -> int:
    return 70 if thorough else 12  # a killed command does one to three steps


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory, epochs) -> Path:
    """A run that was never killed; all that the others compile has been compiled for it."""
    workdir = tmp_path_factory.mktemp("whole")
    assert run(training(workdir, epochs=epochs, settings=SMALL), cache)[0] == 0
    return workdir


@pytest.mark.parametrize("number", range(RUNS))
def test_a_run_that_is_killed_again_and_again_loses_nothing(number, whole, epochs, cache, tmp_path, thorough, count):
    if number and not thorough:
        pytest.skip("make faults has it")
    kills, in_writes = KILLS if thorough else 2, 0
    workdir = tmp_path / "run"
    command = training(workdir, epochs=epochs, settings=SMALL)
    for kill, wait in enumerate(random_waits(number, kills, longest=0.2)):
        before = max(steps(workdir), default=0)
        process = start(command, cache)
        assert until(process, lambda before=before: max(steps(workdir), default=0) > before), "it ended before the kill"
        if kill % 3:  # in a checkpoint
            until(process, lambda: unfinished(workdir), every=0)
            time.sleep(wait / 20)
        else:
            time.sleep(wait)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before the kill"
        in_writes += bool(unfinished(workdir))
        assert max(steps(workdir)) > before
    assert run(command, cache)[0] == 0
    assert not unfinished(workdir) and len(steps(workdir)) <= 2  # nothing is left behind
    assert_same_run(workdir, whole)
    assert not thorough or in_writes > kills / 5
    title = "SIGKILL at random times and in the writing of checkpoints"
    count(title, tried=kills, survived=kills, in_writes=in_writes, lost=0, silent=0, tracebacks=0, hangs=0)


def test_a_kill_before_the_first_checkpoint_costs_nothing(cache, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    kills, workdir, fresh = 12, tmp_path / "run", tmp_path / "cache"
    command, other = training(workdir, epochs=1), tmp_path / "whole"
    assert run(training(other, epochs=1), cache)[0] == 0  # and so everything has been compiled
    for wait in random_waits(1, kills, longest=4.0):
        process = start(command, fresh)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        process.kill()
        process.communicate()
    assert finish(start(command, fresh))[0] == 0
    assert_same_run(workdir, other)
    count("SIGKILL while importing and preparing data", tried=kills, survived=kills, lost=0, tracebacks=0, hangs=0)
