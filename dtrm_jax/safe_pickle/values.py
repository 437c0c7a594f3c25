"""Definitions that the parts of the reader share: refusals, unfinished values, and names of values in messages."""

from collections.abc import Callable
from typing import Any


class Refused(Exception):
    """The file asks for something that is not admitted."""


class Global:
    """A name from the file; it is inert, and REDUCE looks its construction up."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name


class Unbuilt:
    """A dtype or an array between the instruction that creates it and the one that brings its state.

    Attributes:
        finish: Makes the value of its state.
        value: The value. It is None before its state is given.
    """

    __slots__ = ("finish", "value")

    def __init__(self, finish: Callable[[Any], Any]):
        self.finish = finish
        self.value: Any = None


def brief(value: Any) -> str:
    """Returns a text, or the type of any other value, on one line, cut to a length that fits a message."""
    text = " ".join(value.split()) if isinstance(value, str) else repr(type(value))
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 120 else text[:117] + "..."
