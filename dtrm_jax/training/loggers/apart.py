"""A logger beside the training: in a thread of its own, and without a say in how the training ends."""

import queue
import sys
import threading
from typing import Any

import tqdm

from dtrm_jax.training.loggers.logger import Logger

PATIENCE = 60.0  # seconds that the end of training waits for a slow server


class Apart:
    """Hands records to a logger in a thread of its own, so that no server is waited for.

    The first thing that goes wrong in the logger is told in one line, and it gets no more records.
    """

    def __init__(self, name: str, logger: Logger):
        self._name, self._logger = name, logger
        self._records: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"logger {name}", daemon=True)
        self._thread.start()

    def write(self, record: dict[str, Any]) -> None:
        """Takes one record; returns at once."""
        if not self._failed:
            self._records.put(record)

    def close(self) -> None:
        """Waits until the logger has everything, but not for long."""
        self._records.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._warn(f"was not done {PATIENCE:g} s after the training")

    def _work(self) -> None:
        step = 0
        try:
            while (record := self._records.get()) is not None:
                step = record["step"]
                self._logger.write(record)
            self._logger.close()
        except Exception as error:  # whatever its package raises
            self._failed = True
            reason = " ".join(str(error).split())[:200]
            self._warn(f"failed at step {step} and gets no more ({type(error).__name__}: {reason})")

    def _warn(self, problem: str) -> None:
        line = f"warning: config.train.loggers: {self._name} {problem}; training is not affected, metrics.jsonl has all"
        tqdm.tqdm.write(line, file=sys.stderr)
