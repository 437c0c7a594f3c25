"""Ctrl-C and SIGTERM, once and twice, at any time: no traceback, the right status, and the run goes on bit for bit."""

import itertools
import shutil
import signal
import sys
import time

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


def test_signals_in_training(cache, tmp_path, thorough, count):
    rounds, epochs = (6, 200) if thorough else (1, 20)
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    # Most steps are not to be saved, so that a signal comes between records of the log too.
    seldom = [*SMALL, "--config.train.save_every_steps=1000"]
    command, sent = training(workdir, epochs=epochs, settings=seldom), 0
    kinds = ((signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT))
    for wait in random_waits(2, rounds, longest=0.3):
        for signals in kinds if thorough else kinds[:1]:
            before = max(steps(workdir), default=0)
            process = start(command, cache)
            assert until(process, lambda before=before: max(steps(workdir), default=0) > before)
            time.sleep(wait)
            for number in signals:
                process.send_signal(number)
                time.sleep(wait / 20)
            status, out, err = finish(process)
            assert status == 128 + signals[0], (out, err)
            if len(signals) == 1:
                last = max(steps(workdir))
                assert out.splitlines()[-1] == f"interrupted at step {last}; the same command resumes there"
            assert max(steps(workdir)) > before
            sent += 1
    assert run(command, cache)[0] == 0
    assert run(training(whole, epochs=epochs, settings=seldom), cache)[0] == 0
    assert_same_run(workdir, whole)
    title = "Ctrl-C once and twice, and SIGTERM, in training"
    count(title, tried=sent, survived=sent, lost=0, silent=0, tracebacks=0, hangs=0)


def test_ctrl_c_during_the_final_save(cache, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    rounds = 6
    whole = tmp_path / "whole"
    settings = [*SMALL, "--config.train.evaluate_every_steps=100"]
    assert run(training(whole, epochs=1, settings=settings), cache)[0] == 0
    last = steps(whole)[-1]
    for number, wait in enumerate(random_waits(3, rounds, longest=0.2)):
        workdir = tmp_path / f"run{number}"
        process = start(training(workdir, epochs=1, settings=settings), cache)
        until(process, lambda at=workdir: any(name.startswith(f"{last}.") for name in unfinished(at)), every=0)
        time.sleep(wait / 10)
        process.send_signal(signal.SIGINT)
        if number % 2:
            process.send_signal(signal.SIGINT)
        status, _, _ = finish(process)
        assert status in (0, 130)
        assert run(training(workdir, epochs=1, settings=settings), cache)[0] == 0
        assert_same_run(workdir, whole)
    count("Ctrl-C in the last save", tried=rounds, survived=rounds, lost=0, silent=0, tracebacks=0, hangs=0)


def test_ctrl_c_while_importing_and_preparing(cache, tmp_path, thorough, count):
    tried = 15 if thorough else 1
    workdir, fresh, whole = tmp_path / "run", tmp_path / "cache", tmp_path / "whole"
    if thorough:
        assert run(training(whole, epochs=1), cache)[0] == 0  # and so everything has been compiled
    for wait in random_waits(4, tried, longest=3.0 if thorough else 2.0):
        process = start(training(workdir, epochs=1), fresh)
        time.sleep(0.5 + wait)  # not in Python's own beginning
        process.send_signal(signal.SIGINT)
        status, _, err = finish(process)
        assert status in (0, 130) and (status == 0 or "interrupted" in err or steps(workdir)), err
        assert not list(fresh.rglob("*.tmp"))
    if thorough:
        assert run(training(workdir, epochs=1), fresh)[0] == 0
        assert_same_run(workdir, whole)
    count("Ctrl-C while importing and preparing data", tried=tried, survived=tried, lost=0, tracebacks=0, hangs=0)


def test_ctrl_c_while_a_folder_is_written(cache, tmp_path, thorough, count):
    if not thorough:
        pytest.skip("make faults has it")
    workdir, place = tmp_path / "run", tmp_path / "place"
    place.mkdir()
    (tmp_path / "talk.txt").write_text("Ann: I passed!\nBob: Oh, great.\n")
    assert run(training(workdir, epochs=1), cache)[0] == 0
    commands = (
        [sys.executable, "-m", "dtrm_jax.commands.export", str(workdir), str(place / "shared")],
        [sys.executable, "predict.py", f"--checkpoint={workdir}", f"--output={place}/folder", f"{tmp_path}/talk.txt"],
    )
    interrupted = 0
    for command, wait in itertools.product(commands, (0, 0.01, 0.05)):
        process = start(command, cache)
        until(process, lambda: any(path.name.startswith(".") for path in place.iterdir()), every=0)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        status, _, err = finish(process)
        assert (status, err.splitlines()[-1:]) in ((130, ["interrupted"]), (0, [])), err
        left = {path.name for path in place.iterdir()}
        assert left == (set() if status else {command[-1 if "export" in command[2] else 3].rpartition("/")[2]})
        for path in place.iterdir():
            shutil.rmtree(path)
        interrupted += status != 0
    assert interrupted >= 2
    title = "Ctrl-C while a model is exported or predictions are written"
    count(title, tried=6, survived=6, lost=0, silent=0, tracebacks=0, hangs=0)
