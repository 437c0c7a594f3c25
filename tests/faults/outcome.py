"""What becomes of an input: it is read, or refused in one line that names it; anything else fails the test."""

from collections.abc import Callable
from typing import Any

from dtrm_jax.errors import InputError


def of(read: Callable[[], Any], *names: str) -> tuple[Any, str]:
    """Returns what was read and "", or None and the line that refuses it.

    Args:
        read: Reads the input.
        *names: One of them must be in the line.
    """
    try:
        return read(), ""
    except InputError as error:
        line = str(error)
        assert line.isprintable() and 0 < len(line) <= 1100, line
        assert any(name in line for name in names), line
        assert "allow_pickle" not in line and "Traceback" not in line and "set_int_max_str_digits" not in line, line
        return None, line
