"""The logs of training for people: ``metrics.jsonl``, the loggers that the config names, a progress bar."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import tqdm

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.replacing import replacing
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import damaged_lines, read_records
from dtrm_jax.training.loggers import open_loggers


class TrainingLog:
    """Appends records to ``metrics.jsonl`` and hands them to the loggers; one process of a run writes them."""

    def __init__(self, run: RunDirectory, config: Config, start: int):
        """Opens the log at step ``start``.

        What an interrupted run logged after its last checkpoint is dropped: the resumed run logs it again.

        Raises:
            InputError: A logger cannot be opened.
        """
        self._loggers = open_loggers(run, config, start)
        file = run.metrics_file
        _set_damaged_aside(file, start)
        kept = [record for record in read_records(file, damaged=True) if record["step"] <= start]
        with replacing(file) as rewritten:
            rewritten.writelines(json.dumps(record) + "\n" for record in kept)
        self._file = open(file, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record; ``step`` and ``split`` name it.

        Raises:
            InputError: The disk is full.
        """
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise InputError(f"{self._file.name}: cannot write the log of training: {error.strerror}") from error
        for logger in self._loggers:
            logger.write(record)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # what could not be written is written no more
            self._file.close()
        for logger in self._loggers:
            logger.close()


def _set_damaged_aside(file: Path, start: int) -> None:
    """Keeps a log with damaged lines under another name, and says so: a log is no reason not to train on."""
    if lines := damaged_lines(file):
        aside = file.with_name(f"{file.stem}-damaged-at-{start}{file.suffix}")
        shutil.copyfile(file, aside)
        what = f"{file}: {len(lines)} lines, the first line {lines[0]}, are no records of training and left out"
        print(f"{what}; {aside.name} has them", file=sys.stderr)


class Bar(tqdm.tqdm):
    """The bar of a training: steps, time left, and what ``set_postfix_str`` is given.

    The time left follows from the mean time of a step so far, evaluations and checkpoints included. The first step is
    left out of it, as is what runs in ``uncounted``: they take as long as they do because they compile.
    """

    _steps, _seconds, _since = 0, 0.0, None

    def update(self, n: float | None = 1) -> bool | None:
        """Counts steps, and the time since the last one unless that was the first."""
        if self._since is not None:
            self._steps += n
            self._count()
        self._since = time.perf_counter()
        return super().update(n)

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """What runs inside takes no time."""
        self._count()
        yield
        self._since = time.perf_counter()

    def _count(self) -> None:
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since

    @property
    def format_dict(self) -> dict[str, Any]:
        """What tqdm shows, with this rate; it is unknown until a second step is done."""
        shown = super().format_dict
        rate = self._steps / self._seconds if self._steps else None
        # Without a rate tqdm divides the steps since ``initial`` by all the time.
        return shown | ({"rate": rate} if rate else {"rate": None, "initial": shown["n"]})


def progress_bar(total: int, start: int, name: str, shown: bool) -> Bar:
    """Returns the bar of a training that has done ``start`` steps."""
    return Bar(
        total=total,
        initial=start,
        desc=name,
        unit="step",
        dynamic_ncols=True,
        file=sys.stderr,
        disable=not shown,
        mininterval=0.5 if sys.stderr.isatty() else 30,
    )
