"""Commands that faults are done to: a training of seconds, and what must be true of its end."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.runs import ONE_LAYER, ROOT, assert_same_state, environment, saved_state

SECONDS = 900  # after which a command hangs; it takes three or four, or half a minute, and machines may be busy
# What nobody is to see: tracebacks, and what libraries say about their own.
_NOISE = re.compile(r"Traceback|Exception|^  File |^[EWF]\d{4} |Fatal Python error", re.MULTILINE)


# Of acoustic features alone, two steps per epoch: it begins sooner than a model of text.
SMALL = ("--config.model.modalities=a", "--config.model.context.acoustic=free")


def training(workdir: Path, *, epochs: int, settings: Sequence[str] = ()) -> list[str]:
    """Returns the command that trains three steps per epoch and saves each."""
    sizes = ("planted.train=40", "planted.dev=10", "planted.test=10", "planted.turns=6")
    return [
        sys.executable,
        "train.py",
        "--config=configs/demo.py",
        f"--workdir={workdir}",
        *(f"--config.data.{size}" for size in sizes),
        *ONE_LAYER,
        "--config.packing.tokens=1024",
        f"--config.train.epochs={epochs}",
        "--config.train.save_every_steps=1",
        "--config.train.log_every_steps=3",
        "--config.train.loggers=",
        *settings,
    ]


def start(command: Sequence[str], cache: Path, **options) -> subprocess.Popen:
    """Starts a command as a terminal does: Ctrl-C reaches it."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Waits for a command's end; returns its status and what it printed.

    Raises:
        subprocess.TimeoutExpired: It hangs.
        AssertionError: It ended with a traceback.
    """
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert not _NOISE.search(err), err[-3000:]
    return process.returncode, out, err


def run(command: Sequence[str], cache: Path, **options) -> tuple[int, str, str]:
    """Runs a command; see ``finish``."""
    return finish(start(command, cache, **options))


def error_of(ended: tuple[int, str, str]) -> str:
    """Returns the one line with which a command refused."""
    status, out, err = ended
    lines = [line for line in re.split(r"[\r\n]+", err) if "error:" in line]
    assert status == 2 and len(lines) == 1, ended
    return lines[0]


def steps(workdir: Path) -> list[int]:
    """The complete checkpoints."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(int(name) for name in os.listdir(workdir / "checkpoints") if name.isdecimal())
    return []


def unfinished(workdir: Path) -> list[str]:
    """The checkpoints that are being written, or were."""
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(workdir / "checkpoints") if "tmp" in name]
    return []


def until(process: subprocess.Popen, condition, every: float = 0.001) -> bool:
    """Waits for a condition; returns whether the command still ran then."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(every)
    return True


def curve(workdir: Path) -> list[tuple]:
    """What the log says of each step, apart from speeds."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    timed = ("utterances_per_second", "tokens_per_second", "seconds")
    return [tuple((k, v) for k, v in json.loads(line).items() if k not in timed) for line in lines]


def assert_same_run(workdir: Path, whole: Path) -> None:
    """Compares with an uninterrupted run: parameters and optimizer bit for bit, and the curves."""
    for which in ("latest", "best"):
        assert_same_state(saved_state(workdir, which), saved_state(whole, which))
    assert curve(workdir) == curve(whole)


def random_waits(seed: int, number: int, longest: float) -> Iterator[float]:
    """Yields times in seconds."""
    choose = random.Random(seed)
    for _ in range(number):
        yield choose.uniform(0, longest)
