"""The one exception for input that a user can correct, and how a command ends with it."""

import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from dtrm_jax import interruption

Entry = TypeVar("Entry")

MAX_MESSAGE = 1000  # characters; names out of a file may be of any length


class InputError(ValueError):
    """Bad input: a data file, a config, weights or a run directory.

    The message is one line that names the file, the record and what was expected. Command-line scripts print it and
    exit with status 2; library callers may catch it as a ``ValueError``.

    A message may quote a file: as text, it is one printable line of bounded length, whatever the file holds.
    """

    def __str__(self) -> str:
        """Returns the message as ``printable`` makes it."""
        return printable(super().__str__())


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """Returns a text as one line that a terminal shows as it is.

    What is not printable, such as line breaks, terminal escapes, marks that reverse the direction of writing, and lone
    surrogates, is written as an escape sequence. Of a text that is too long, the middle is left out.

    Args:
        text: The text.
        limit: The largest number of characters.
    """
    if len(text) > limit:
        text = f"{text[: limit - limit // 4]} [...] {text[len(text) - limit // 4 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def chosen(table: Mapping[str, Entry], name: str, setting: str) -> Entry:
    """Returns the entry of a registry that a setting names.

    Args:
        table: Name -> entry.
        name: The setting's value.
        setting: Its path, for the error.

    Raises:
        InputError: There is no such entry; lists those there are.
    """
    if name not in table:
        raise InputError(f"{setting}: expected one of {', '.join(one or 'empty' for one in table)}, found {name!r}")
    return table[name]


def did_you_mean(found: str, known: Iterable[str], prefix: str = "") -> str:
    """Returns the end of an error's line that proposes the name nearest to one that does not exist.

    Args:
        found: What was given.
        known: The names that there are.
        prefix: Is written before the proposal.

    Returns:
        ``"; did you mean ...?"``; empty if nothing is near.
    """
    nearest = difflib.get_close_matches(found, known, n=1)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else ""


def disk_problem(error: BaseException) -> str:
    """Returns why a disk took no more, in the system's words, if a library's exception of its own kind quotes them.

    Args:
        error: Of a library that writes files.

    Returns:
        "No space left on device", for example; empty if the exception is about something else.
    """
    quoted = " ".join(str(error).split())
    number = re.search(r"os_error_code='(\d+)'", quoted)  # TensorStore names it
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES):
        if os.strerror(code) in quoted or (number and int(number[1]) == code):
            return os.strerror(code)
    return ""


def exit_status(command: Callable[[], int | None]) -> int:
    """Runs a command; bad input becomes one line on standard error.

    Args:
        command: Returns its exit status, or None for success.

    Returns:
        The command's status; 2 for bad input, an OSError included: it names the file that could not be used; 130 after
        Ctrl-C.
    """
    try:
        return command() or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return interruption.STATUS
    except (InputError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
