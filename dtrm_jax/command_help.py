"""What ``--help`` and ``--help_settings`` answer, at the width of the terminal."""

import argparse
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType

from absl import flags

from dtrm_jax import config_files, explained
from dtrm_jax.config import Config
from dtrm_jax.errors import InputError

_WIDEST = 100  # columns; longer lines are hard to read
_LONGEST_NAME = 24  # of those that stand in the same line as their explanation
_LONGEST_CODE = 40  # of a piece of code that stays in one line
_CODE = re.compile(r"``(.+?)``", re.DOTALL)


def asked(arguments: Sequence[str]) -> argparse.Namespace | None:
    """Returns what a command line asks to be told: ``help``, ``help_settings`` and ``config``; None if nothing."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", "-help", "--helpshort", action="store_true")
    parser.add_argument("--help_settings", nargs="?", const="")
    parser.add_argument("--config")
    found, _ = parser.parse_known_args(list(arguments))
    return found if found.help or found.help_settings is not None else None


def columns(entries: Mapping[str, str], width: int, indent: str = "  ") -> str:
    """Returns names and what they mean in two columns, one entry below the other."""
    column = min(max(map(len, entries), default=0), _LONGEST_NAME) + 2
    lines = []
    for name, meaning in entries.items():
        first = f"{indent}{name:<{column}}"
        if len(name) > _LONGEST_NAME:
            lines.append(indent + name)
            first = indent + " " * column
        lines.append(_filled(meaning, width, first, indent + " " * column).rstrip())
    return "\n".join(lines)


def help_width() -> int:
    """Returns the columns that the help may take."""
    return min(flags.get_help_width(), _WIDEST)


class Texts:
    """The help of one command."""

    def __init__(self, module: ModuleType, *, shared: ModuleType, listing: Callable[[], str] | None):
        """Remembers where the help is found.

        Args:
            module: Its docstring describes the command, and it defines the command's flags.
            shared: Defines the flags of all commands.
            listing: Returns what is shown after the flags.
        """
        self._module, self._shared, self._listing = module, shared, listing
        self._width = help_width()

    def answer(self, question: argparse.Namespace) -> str:
        """Returns the text that was asked for.

        Args:
            question: As ``asked`` returns it.

        Raises:
            InputError: The pattern fits no setting, or the config does not load.
        """
        if question.help:
            return "\n\n".join(self._help())
        return self._settings(question.help_settings, question.config)

    def _help(self) -> Iterator[str]:
        yield _reflowed(self._module.__doc__ or "", self._width)
        own = self._flags()
        yield "flags:\n" + "\n".join(self._flag(flag) for flag in own)
        if self._listing is not None:
            yield self._listing()
        how = (
            "--help_settings PATTERN explains the settings of experiments whose name or meaning it is found in, "
            "--help_settings alone explains all of them."
        )
        if any(flag.name == "config" for flag in own):
            configs = {name: _headline(text) for name, text in config_files.summaries().items()}
            yield f"configs that come with the package:\n{columns(configs, self._width)}"
            listed = {f"config.{one.path}".rstrip("."): _headline(one.meaning) for one in explained.sections(Config())}
            yield f"sections of settings:\n{columns(listed, self._width)}"
            how += " With --config, their values are those of that config."
        yield _filled(how, self._width)

    def _flags(self) -> list[flags.Flag]:
        modules = (self._module, self._shared)
        own = [flag for module in modules for flag in flags.FLAGS.get_flags_for_module(module.__name__)]
        return sorted(own, key=lambda flag: flag.name)

    def _flag(self, flag: flags.Flag) -> str:
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
        default = "" if flag.default in (None, False, "", []) else f" Default: {flag.default_as_str.strip(chr(39))}."
        return _filled(f"{name}: {flag.help}{default}", self._width, "  ", "      ")

    def _settings(self, pattern: str, config: str | None) -> str:
        values = Config() if config is None else config_files.load(config)
        try:
            looked_for = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise InputError(f"--help_settings: expected a regular expression, found {pattern!r}: {error}") from error
        every = [one for section in explained.sections(values) for one in section.settings]
        found = [one for one in every if looked_for.search(f"config.{one.path} {one.meaning}")]
        if not found:
            raise InputError(f"--help_settings: no setting has {pattern!r} in its name or meaning")
        return "\n".join(self._setting(one) for one in found)

    def _setting(self, setting: explained.Explained) -> str:
        admitted = " | ".join(setting.choices) or setting.admitted
        meaning = setting.meaning + ("" if setting.meaning.endswith(".") else ".")
        first = f"--config.{setting.path}={setting.value}"
        return f"{first}\n{_filled(f'{meaning} ({admitted})', self._width, '    ', '    ')}"


def _headline(docstring: str) -> str:
    return _CODE.sub(r"\1", docstring.partition("\n")[0])


def _reflowed(docstring: str, width: int) -> str:
    """Returns a docstring whose paragraphs fit the width; short pieces of code stay in one line."""
    paragraphs = docstring.strip().split("\n\n")
    return "\n\n".join(_filled(_CODE.sub(_unbroken, paragraph), width) for paragraph in paragraphs)


def _unbroken(code: re.Match) -> str:
    text = " ".join(code[1].split())
    return text.replace(" ", "\0") if len(text) <= _LONGEST_CODE else text


def _filled(text: str, width: int, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ).replace("\0", " ")
