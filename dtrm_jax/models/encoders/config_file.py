"""``config.json`` of an encoder's folder, read value by value: each is checked where it is asked for."""

from pathlib import Path
from typing import Any, NoReturn

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_object

FOLDER = "a folder with config.json, model.safetensors and the tokenizer's files"


class ConfigFile:
    """The values of a ``config.json``.

    Attributes:
        path: The file.
        values: Its content.
    """

    def __init__(self, path: Path):
        """Reads the file.

        Raises:
            InputError: It is missing or not a JSON object.
        """
        self.path, self.values = path, read_json(path)

    def size(self, key: str, least: int = 1, *, absent: int | None = None) -> int:
        """Returns a whole number of at least ``least``; raises InputError if it is something else.

        ``absent`` is what a file without it means; if that is None, the file is refused.
        """
        value = self.values.get(key, absent)
        if type(value) is not int or value < least:
            expected = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
            self.refuse(key, expected)
        return value

    def small(self, key: str, default: float) -> float:
        """Returns a number between 0 and 1, such as an epsilon; the default if it is missing."""
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not 0 < value < 1:
            self.refuse(key, "a number between 0 and 1")
        return float(value)

    def number(self, key: str, *, absent: float | None = None) -> float:
        """Returns a number above 0; raises InputError if it is something else. ``absent`` is that of ``size``."""
        value = self.values.get(key, absent)
        if type(value) not in (int, float) or value <= 0:
            self.refuse(key, "a number above 0")
        return float(value)

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raises InputError that names the file, the key, what was expected and what was found."""
        raise InputError(f"{self.path}: {key}: expected {expected}, found {self.values.get(key)!r}")

    def expect(self, key: str, *expected: Any, absent: Any = None) -> Any:
        """Returns a value that must be one of those that are implemented.

        Args:
            key: Its name.
            *expected: The values that are implemented.
            absent: What a file without it means.

        Raises:
            InputError: It is another value.
        """
        value = self.values.get(key, absent)
        if not any(type(value) is type(one) and value == one for one in expected):
            self.refuse(key, " or ".join(map(repr, expected)))
        return value

    def check_heads(self, key: str, hidden_size: int, heads: int) -> None:
        """Raises InputError unless the heads divide the width, which is called ``key`` in the file."""
        if hidden_size % heads:
            self.refuse(key, f"a multiple of the {heads} attention heads")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the content of a JSON file.

    Raises:
        InputError: It is missing, or not a JSON object.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected {FOLDER}")
    return read_object(path, FOLDER)
