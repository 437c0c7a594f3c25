"""SIGINT and SIGTERM, which end a training after a checkpoint."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

from dtrm_jax import interruption


class Interrupted(Exception):
    """SIGINT or SIGTERM ended training after a checkpoint was written."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"interrupted at step {step}; the same command resumes there")
        self.signal_number = signal_number


class Signals:
    """What has been received.

    Saving takes all processes of a run, which therefore end after the same step, whichever of them was signalled: the
    step is agreed on by JAX, to which their SIGTERM goes, and SIGINT as one.

    Attributes:
        received: Numbers of the signals, in order.
    """

    def __init__(self):
        self.received: list[int] = []
        self._agreed = False
        self._several = jax.process_count() > 1

    @property
    def collected(self) -> tuple[int, ...]:
        """Those that come here and not to JAX."""
        return (signal.SIGINT,) if self._several else (signal.SIGINT, signal.SIGTERM)

    def note(self, number: int, _frame: Any) -> None:
        """Handles a signal; a second SIGINT is ``interruption.again``."""
        if self.received and number == signal.SIGINT:
            interruption.again()
        self.received.append(number)
        if self._several:
            signal.raise_signal(signal.SIGTERM)

    def end_after(self, step: int) -> bool:
        """Whether training is to end after a step; to be asked after every step of every process."""
        if self._several and multihost_utils.reached_preemption_sync_point(step):
            self._agreed, self.received = True, self.received or [signal.SIGTERM]
        return self.interrupted

    @property
    def interrupted(self) -> bool:
        """Whether training was cut short; of several processes, one may be signalled when all have ended."""
        return self._agreed if self._several else bool(self.received)


@contextlib.contextmanager
def collected_signals() -> Iterator[Signals]:
    """Collects SIGINT and SIGTERM instead of ending the process."""
    signals = Signals()
    try:
        before = {number: signal.signal(number, signals.note) for number in signals.collected}
    except ValueError:  # not the main thread, which alone may handle signals
        yield signals
        return
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
