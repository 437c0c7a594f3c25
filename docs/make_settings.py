"""Writes ``docs/settings.md`` from the fields of ``dtrm_jax/config.py``: ``python docs/make_settings.py``.

A setting's default and the values that it admits are read from its field, its meaning from the comment that stands
above the field or behind it.
"""

import ast
import dataclasses
import inspect
import io
import math
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dtrm_jax import config as config_lib  # noqa: E402
from dtrm_jax.settings import Admitted, admitted  # noqa: E402

PAGE = Path(__file__).with_name("settings.md")
_TITLE = "# Settings"
_OPENING = """
Every setting of an experiment, with its default, the values that it admits, and its meaning. This page is written from
`dtrm_jax/config.py` by `make tables`.

A config file (`configs/*.py`) starts from these defaults and changes some of them. Any setting can also be changed on
the command line, with its full name. A setting that does not exist, a value of the wrong type and a value out of bounds
are refused in one line.

```sh
dtrm-train --config meld --config.train.epochs=3 --config.tokens.window=20
```

From Python: `config = dtrm_jax.load_config("meld")`, then `config.train.epochs = 3`.

Section, equation and table numbers are those of the paper (arXiv:2010.07637). The defaults are the paper's settings
(section 5.2) where it names one.
"""
_ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;"})  # what a cell of a table must not hold


def page() -> str:
    """Returns the text of the page."""
    text = [_TITLE, _OPENING]
    for path, section in _sections(config_lib.Config(), ""):
        text.append(f"## {path or 'The experiment'}\n\n{inspect.getdoc(type(section)).replace('``', '`')}\n")
        text.append("| setting | default | admitted | meaning |\n|---|---|---|---|")
        text += [_row(path, section, field) for field in _plain_fields(section)]
        text.append("")
    return "\n".join(text)


def _sections(section: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields every section that has settings of its own, with its path, outer sections first."""
    if _plain_fields(section):
        yield path, section
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _sections(value, f"{path}.{field.name}".lstrip("."))


def _plain_fields(section: Any) -> list[dataclasses.Field]:
    """Returns the fields of a section that are no sections themselves."""
    return [
        field for field in dataclasses.fields(section) if not dataclasses.is_dataclass(getattr(section, field.name))
    ]


def _row(path: str, section: Any, field: dataclasses.Field) -> str:
    """Returns the row of a setting."""
    kind = get_type_hints(type(section))[field.name]
    name = f"--config.{path}.{field.name}" if path else f"--config.{field.name}"
    default = getattr(section, field.name)
    shown = f"`{default}`" if default != "" else "empty"
    meaning = comments(type(section))[field.name].translate(_ESCAPED)
    return f"| `{name}` | {shown} | {_values(kind, admitted(field))} | {meaning} |"


def _values(kind: Any, bounds: Admitted) -> str:
    """Says in words what a setting admits."""
    if kind is bool:
        return "`True`, `False`"
    if bounds.choices:
        return ", ".join(f"`{choice}`" for choice in bounds.choices)
    if kind is str:
        return "text"
    if bounds.increasing:
        return f"increasing whole numbers, at least {bounds.low}"
    number = "whole number" if kind is int else "number"
    if bounds.below < math.inf:
        return f"{number} from {bounds.low} to below {bounds.below}"
    if bounds.high < math.inf:
        return f"{number} from {bounds.low} to {bounds.high}"
    return f"{number}, at least {bounds.low}"


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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
