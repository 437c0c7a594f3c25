"""Ctrl-C ends a command with one line and status 130, whatever it comes upon.

Python's own answer, a ``KeyboardInterrupt`` out of nowhere, is swallowed by some libraries while they are imported or
at work, turned into other exceptions by others, and the death of one written in C++. A command therefore ends on the
spot, as it would if it were killed, from which everything here recovers; only unfinished files are removed. A training
ends otherwise (``training.signals``).
"""

# Little is imported here: until it is, Python's own answer is given.
from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

STATUS = 130  # 128 + SIGINT, as shells say it

_command = False
_unfinished: list[Callable[[], Iterable[Path]]] = []


def begin_command() -> None:
    """Makes this process a command, which Ctrl-C ends; where it is ignored, as behind a script, it stays ignored."""
    global _command
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _command = True
        signal.signal(signal.SIGINT, _leave)


def end_command() -> None:
    """Keeps Ctrl-C from what Python does at its own end: all is done."""
    if _command:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def expect_while_importing() -> None:
    """Lets a Ctrl-C end the program with one line while modules are imported from which it becomes a command."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _hook


@contextlib.contextmanager
def unfinished(paths: Callable[[], Iterable[Path]]) -> Iterator[None]:
    """Removes files and folders if Ctrl-C ends the command in the meantime.

    Args:
        paths: Returns them; they need not exist.
    """
    _unfinished.append(paths)
    try:
        yield
    finally:
        _unfinished.remove(paths)


def again() -> None:
    """Does what a further Ctrl-C does.

    Raises:
        KeyboardInterrupt: This process is no command. A command ends.
    """
    if _command:
        _leave()
    raise KeyboardInterrupt


def _leave(*_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):
        for path in (path for paths in _unfinished for path in paths()):
            if path.is_dir():
                import shutil

                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    with contextlib.suppress(Exception):  # a reader that is gone, a full disk, or a print that was interrupted
        sys.stdout.flush()
    # Not through sys.stderr, which the code that was interrupted may be writing to.
    os.write(2, b"interrupted\n")
    os._exit(STATUS)


def _hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    cause: BaseException | None = error
    while cause is not None:  # an import may say that it failed because of it
        if isinstance(cause, KeyboardInterrupt):
            _leave()
        cause = cause.__cause__ or cause.__context__
    sys.__excepthook__(kind, error, traceback)
