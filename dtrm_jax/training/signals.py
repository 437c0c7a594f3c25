"""SIGINT and SIGTERM, which end a training after a checkpoint."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from dtrm_jax import interruption


class Interrupted(Exception):
    """SIGINT or SIGTERM ended training after a checkpoint was written."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"interrupted at step {step}; the same command resumes there")
        self.signal_number = signal_number


@contextlib.contextmanager
def collected_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of ending the process; a second SIGINT is ``interruption.again``."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if received and number == signal.SIGINT:
            interruption.again()
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not the main thread, which alone may handle signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
