"""A command that extracts, killed when it has extracted a few clips."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from dtrm_jax.extraction.store import Store
from tests.runs import ROOT, environment


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dtrm_jax.commands.extract", *map(str, arguments)]


def run(cache: Path, *arguments: object) -> subprocess.CompletedProcess:
    settings = environment(cache) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command(*arguments), env=settings, capture_output=True, text=True, timeout=300)


def kill_after(cache: Path, unfinished: Path, clips: int, *arguments: object) -> set[int]:
    """Kills the command when so many clips are done at least; returns those that were, when all its processes ended."""
    mark = uuid.uuid4().hex
    settings = environment(cache) | {"PYTHONPATH": str(ROOT), "DTRM_TEST_MARK": mark}
    process = subprocess.Popen(command(*arguments), env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while len(done(unfinished)) < clips:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    process.kill()
    process.wait()
    process.stderr.close()
    while _marked(mark):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.1)
    return done(unfinished)


def done(unfinished: Path) -> set[int]:
    """Returns the clips in the store, of which a copy is read: the process that writes it has it alone."""
    with tempfile.TemporaryDirectory() as copy:
        for file in unfinished.glob("clips.sqlite*"):
            shutil.copy(file, copy)
        if not (Path(copy) / "clips.sqlite").exists():
            return set()
        with Store(Path(copy) / "clips.sqlite") as store:
            return store.places()


def _marked(mark: str) -> list[str]:
    """Returns the processes whose environment has a mark (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(process.name)
        except OSError:  # it has ended, or is another user's
            continue
    return found
