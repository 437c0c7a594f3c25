"""What the settings of a section mean, read from where they are declared.

The meaning of a setting is the comment that stands above its field or behind it, what it admits is what its field says.
``docs/settings.md`` and ``--help_settings`` are written from this.
"""

import ast
import dataclasses
import inspect
import io
import math
import tokenize
from collections.abc import Iterator
from typing import Any, get_type_hints

from dtrm_jax.settings import Admitted, admitted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explained:
    """A setting, for people.

    Attributes:
        path: Its name with dots, without ``config.``.
        value: Its value in the section that was explained.
        choices: The values that it may have; empty if there are too many to name.
        admitted: What it may be, in words, if there are no choices.
        meaning: Its comment.
    """

    path: str
    value: Any
    choices: tuple[str, ...]
    admitted: str
    meaning: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainedSection:
    """A section that has settings of its own.

    Attributes:
        path: Its name with dots; empty for the outermost.
        meaning: Its docstring.
        settings: Its settings, in their order.
    """

    path: str
    meaning: str
    settings: tuple[Explained, ...]


def sections(section: Any, path: str = "") -> Iterator[ExplainedSection]:
    """Yields a section and all sections in it that have settings of their own, outer sections first.

    Args:
        section: A dataclass of settings, whose source can be read.
        path: Its name with dots.
    """
    fields = dataclasses.fields(section)
    inner = {field.name for field in fields if dataclasses.is_dataclass(getattr(section, field.name))}
    hints, meanings = get_type_hints(type(section)), comments(type(section))
    own = []
    for field in fields:
        if field.name in inner:
            continue
        choices, words = _admitted(hints[field.name], admitted(field))
        own.append(
            Explained(
                path=f"{path}.{field.name}".lstrip("."),
                value=getattr(section, field.name),
                choices=choices,
                admitted=words,
                meaning=meanings[field.name],
            )
        )
    if own:
        yield ExplainedSection(path=path, meaning=inspect.getdoc(type(section)) or "", settings=tuple(own))
    for name in (field.name for field in fields if field.name in inner):
        yield from sections(getattr(section, name), f"{path}.{name}".lstrip("."))


def comments(section: type) -> dict[str, str]:
    """Returns the comment of every field of a section: the lines directly above it, then what stands behind it."""
    source = inspect.getsource(section)
    found = {
        token.start[0]: (token.string.removeprefix("#").strip(), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    result = {}
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign):
            continue
        first = node.lineno
        while first - 1 in found and found[first - 1][1]:
            first -= 1
        lines = [found[line][0] for line in range(first, node.end_lineno + 1) if line in found]
        meaning = " ".join(lines)
        result[node.target.id] = meaning[:1].upper() + meaning[1:]
    return result


def _admitted(kind: Any, bounds: Admitted) -> tuple[tuple[str, ...], str]:
    """Returns the choices of a setting, and what it admits in words."""
    if kind is bool:
        return ("True", "False"), ""
    if bounds.choices:
        return tuple(bounds.choices), ""
    if kind is str:
        return (), "text"
    if bounds.increasing:
        return (), f"increasing whole numbers from {bounds.low} to {bounds.high}"
    number = "whole number" if kind is int else "number"
    if bounds.below < math.inf:
        return (), f"{number} from {bounds.low} to below {bounds.below}"
    return (), f"{number} from {bounds.low} to {bounds.high}"
