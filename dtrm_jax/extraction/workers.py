"""Clips in several processes, each of which holds an openSMILE; one that a clip kills is replaced."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dtrm_jax.errors import InputError

_PROGRAM = Path(__file__).with_name("opensmile_worker.py")
_TRIES = 2  # of a clip whose process dies: the machine may have run out of memory for a moment


class Clip(NamedTuple):
    """A part of a recording.

    Attributes:
        path: The file.
        start: In seconds.
        end: In seconds; None for the end of the recording.
    """

    path: str
    start: float
    end: float | None


# The features, float32 [M], or why there are none.
Result = np.ndarray | str


def extract(clips: Sequence[Clip], feature_set: str, size: int, workers: int) -> Iterator[tuple[int, Result]]:
    """Yields the place of each clip and its features, in the order in which they are finished.

    Args:
        clips: The clips.
        feature_set: The name of an ``opensmile.FeatureSet``.
        size: M, how many features it has.
        workers: How many processes.

    Raises:
        InputError: A process cannot be started.
    """
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        # Ended before the threads that wait for them are.
        idle = [stack.enter_context(_Worker(feature_set, size)) for _ in range(min(workers, len(clips)))]
        working: dict[Future[Result], tuple[int, _Worker]] = {}
        waiting = iter(enumerate(clips))
        while True:
            for place, clip in islice(waiting, len(idle)):
                worker = idle.pop()
                working[threads.submit(worker.extract, clip)] = place, worker
            if not working:
                return
            finished, _ = wait(working, return_when=FIRST_COMPLETED)
            for future in finished:
                place, worker = working.pop(future)
                idle.append(worker)
                yield place, future.result()


class _Worker:
    """A process; a context manager, which ends it."""

    def __init__(self, feature_set: str, size: int):
        self._feature_set, self._size = feature_set, size
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._end()

    def extract(self, clip: Clip) -> Result:
        """Returns the features of a clip, float32 ``[M]``, or why there are none."""
        for _ in range(_TRIES):
            answer = self._ask(clip)
            if answer is not None:
                return answer.get("reason") or np.array(answer["features"], np.float32)
            status = self._end()
        return f"ends openSMILE: exit status {status}"

    def _ask(self, clip: Clip) -> dict[str, Any] | None:
        """Returns the answer of the process; None if it has ended."""
        if self._process is None and not self._closed:
            self._start()
        request = json.dumps(clip._asdict()).encode() + b"\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            return _answer(self._process)
        except (OSError, ValueError, AttributeError):  # a pipe that is broken or closed
            return None

    def _start(self) -> None:
        # -P: the modules beside the program take no other module's place.
        command = [sys.executable, "-P", str(_PROGRAM), self._feature_set]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        first = _answer(self._process)
        if first is None or first.get("size") != self._size:
            found = "nothing" if first is None else f"{first.get('size')} features"
            raise InputError(
                f"openSMILE: expected {self._size} features of {self._feature_set}, found {found}; "
                f"{' '.join(command)} says more"
            )

    def _end(self) -> int | None:
        """Ends the process; returns its exit status if it had ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        status = process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # of a request that was not read any more
                pipe.close()
        return status


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    line = process.stdout.readline()
    return json.loads(line) if line.endswith(b"\n") else None
