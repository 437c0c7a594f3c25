"""Typed settings whose bounds and choices stand at their fields, and their way to JSON and back.

A section of settings is a dataclass. ``setting`` declares a field with what it admits; a number always says between
which ends it lies. ``check`` refuses everything else by name, ``from_dict`` what is not a section's field.
"""

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_type_hints

from dtrm_jax.errors import InputError, did_you_mean

_ADMITS = "admits"
_SINCE = "since"
_BEFORE = "before"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Admitted:
    """What a setting may be.

    Attributes:
        choices: The values that a text may have; empty if any will do.
        or_empty: Whether an empty text is admitted besides them.
        low: The smallest number.
        high: The largest number.
        below: What a number must be smaller than.
        increasing: Whether a list must be of increasing numbers, at least one and none beyond the ends.
    """

    choices: Collection[str] = ()
    or_empty: bool = False
    low: float = -math.inf
    high: float = math.inf
    below: float = math.inf
    increasing: bool = False

    @property
    def bounded(self) -> bool:
        """Whether both ends are stated."""
        return math.isfinite(self.low) and math.isfinite(min(self.high, self.below))

    def problem(self, value: Any) -> str:
        """Returns what was expected instead of a value of the right type; empty if it is admitted."""
        if self.choices and value not in self.choices and not (self.or_empty and value == ""):
            return f"one of {', '.join(self.choices)}"
        if self.increasing and not (
            value and self.low <= min(value) and max(value) <= self.high and list(value) == sorted(set(value))
        ):
            return f"increasing lengths from {self.low} to {self.high}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not (self.low <= value <= self.high and value < self.below and math.isfinite(value)):
                return f"a number from {self.low} to " + (
                    f"below {self.below}" if self.below < self.high else f"{self.high}"
                )
        return ""


def setting(
    default: Any,
    *,
    choices: Collection[str] = (),
    or_empty: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    increasing: bool = False,
    since: str = "",
    before: Any = None,
) -> Any:
    """Declares a field of a section.

    Args:
        default: Its default.
        choices: As in ``Admitted``.
        or_empty: As in ``Admitted``.
        low: As in ``Admitted``.
        high: As in ``Admitted``.
        below: As in ``Admitted``.
        increasing: As in ``Admitted``.
        since: The version of the package that introduced it. A file of an older version lacks the setting, and it then
            has its default, which must be what the older version did.
        before: What an older version did, if that is not the default.

    Raises:
        TypeError: It is a number, or a list of numbers, without a finite lower or upper end.
    """
    admitted = Admitted(choices=choices, or_empty=or_empty, low=low, high=high, below=below, increasing=increasing)
    if isinstance(default, int | float | tuple) and not isinstance(default, bool) and not admitted.bounded:
        raise TypeError(f"a setting with the default {default} must state both ends")
    return dataclasses.field(default=default, metadata={_ADMITS: admitted, _SINCE: since, _BEFORE: before})


def section(kind: type, *, since: str = "") -> Any:
    """Declares a field that is a section of its own, with its defaults; ``since`` as in ``setting``."""
    return dataclasses.field(default_factory=kind, metadata={_SINCE: since})


def admitted(field: dataclasses.Field) -> Admitted:
    """Returns what a field of a section admits."""
    return field.metadata.get(_ADMITS, Admitted())


def check(settings: Any, path: str = "config") -> None:
    """Checks type and value of every setting of a section and of the sections in it, and that there is nothing else.

    Args:
        settings: The section.
        path: What it is called in errors.

    Raises:
        InputError: Names the setting, what was expected and what was found.
    """
    for name in _strangers(settings):
        raise InputError(f"{path}.{name}: no such setting{nearest_setting(name, settings, path + '.')}")
    for name, hint, field, value in leaves(settings):
        _check_type(f"{path}.{name}", hint, value)
        if problem := admitted(field).problem(value):
            found = repr(value) if isinstance(value, str) else value
            raise InputError(f"{path}.{name}: expected {problem}, found {found}")


def leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, dataclasses.Field, Any]]:
    """Yields path, type, field and value of every setting of a section and of the sections in it."""
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value, path = getattr(settings, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, path + ".")
        else:
            yield path, hints[field.name], field, value


def nearest_setting(found: str, settings: Any, prefix: str) -> str:
    """Returns the end of an error's line that proposes the setting nearest to one that does not exist.

    A setting of the same name in another section is nearer than any other.

    Args:
        found: A path with dots.
        settings: The section that ``found`` was looked for in.
        prefix: Is written before the proposal.
    """
    known, name = [path for path, *_ in leaves(settings)], found.rpartition(".")[2]
    namesakes = sorted(
        (path for path in known if path.rpartition(".")[2] == name),
        key=lambda path: difflib.SequenceMatcher(None, found, path).ratio(),
    )
    return f"; did you mean {prefix}{namesakes[-1]}?" if namesakes else did_you_mean(found, known, prefix)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one, whose keys are the paths with dots; tuples become lists, as in JSON."""
    result = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = list(value) if isinstance(value, tuple) else value
    return result


def as_flag(value: Any) -> str:
    """Returns a value as it is written on the command line; a tuple, or a list as JSON has it, as ``(64,128)``."""
    return f"({','.join(map(str, value))})" if isinstance(value, list | tuple) else str(value)


def from_dict(values: Any, kind: type, path: str = "config") -> Any:
    """Builds a section from what ``dataclasses.asdict`` makes of it, perhaps of an older version.

    Args:
        values: Nested dicts.
        kind: The section's class.
        path: What it is called in errors.

    Raises:
        InputError: A key is unknown, or missing although no later version introduced it, or a value has the wrong type.
    """
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping, found {type(values).__name__}")
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise InputError(f"{path}.{key}: unknown setting, expected one of {', '.join(hints)}")
    arguments = {}
    for field in dataclasses.fields(kind):
        name, hint = field.name, hints[field.name]
        if name not in values:
            if field.metadata.get(_SINCE):
                if (before := field.metadata.get(_BEFORE)) is not None:
                    arguments[name] = before
                continue
            raise InputError(f"{path}.{name}: setting is missing")
        value = values[name]
        if dataclasses.is_dataclass(hint):
            value = from_dict(value, hint, f"{path}.{name}")
        else:
            value = tuple(value) if isinstance(value, list) else value
            _check_type(f"{path}.{name}", hint, value)
        arguments[name] = value
    return kind(**arguments)


def _strangers(settings: Any, prefix: str = "") -> Iterator[str]:
    """Yields the paths of attributes that are no settings, as a config file leaves behind that misspells one."""
    names = {field.name for field in dataclasses.fields(settings)}
    for name, value in vars(settings).items():
        if name not in names:
            yield prefix + name
        elif dataclasses.is_dataclass(value):
            yield from _strangers(value, f"{prefix}{name}.")


def _check_type(path: str, hint: Any, value: Any) -> None:
    if hint == tuple[int, ...]:
        good = isinstance(value, tuple) and all(type(item) is int for item in value)
    elif hint is float:
        good = type(value) in (int, float)
    else:
        good = type(value) is hint
    if not good:
        raise InputError(f"{path}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
