"""JSON files: read with errors of one line, written for people to read, complete or not at all."""

import json
import os
import re
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.replacing import replacing

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as JSON writes a half of a pair


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text that anyone may have written.

    Raises:
        ValueError: It is not JSON, or holds what no program can keep: brackets nested too deeply, a whole number of
            thousands of digits, half of a surrogate pair. The message is a part of a line.
    """
    try:
        value = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("not valid JSON: nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("expected Unicode, found half of a surrogate pair") from None
    except ValueError:  # whose advice is for programmers
        raise ValueError("expected numbers of a usual size, found one of thousands of digits") from None
    return value


def read_json(path: str | os.PathLike, what: str) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        what: What it should be, for errors: "the results of an evaluation".

    Raises:
        InputError: It is missing or not JSON.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected {what}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not valid JSON: expected UTF-8, found byte 0x{error.object[error.start]:02x}"
        ) from error
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def read_object(path: str | os.PathLike, what: str) -> dict[str, Any]:
    """Reads a JSON file that holds an object; the arguments are those of ``read_json``.

    Raises:
        InputError: It is missing, not JSON, or holds something else than an object.
    """
    values = read_json(path, what)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def write_json(path: str | os.PathLike, values: dict[str, Any]) -> None:
    """Writes a JSON object, with the folders above it; an existing file is replaced.

    Single numbers come first, then lists and objects, each in the order given. A list or an object of plain values
    stands on one line, so that a confusion matrix reads as one.

    Raises:
        ValueError: A number is not finite, which JSON cannot hold.
        TypeError: A value is not of a JSON type.
    """
    ordered = dict(sorted(values.items(), key=lambda item: isinstance(item[1], dict | list)))
    text = _layout(ordered, indent="")
    with replacing(path) as file:
        file.write(text + "\n")


def _layout(value: Any, indent: str) -> str:
    """Returns ``value`` as JSON, spread over lines unless it is a scalar or holds only scalars."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, dict | list) for child in children):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + "  "
    parts = [_layout(child, inner) for child in children]
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {part}" for key, part in zip(value, parts, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + ",".join(f"\n{inner}{part}" for part in parts) + f"\n{indent}{closing}"
