"""The parts that the commands share: one-line errors, exit codes, the compilation cache."""

import contextlib
import errno
import logging as standard_logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from dtrm_jax import command_help, config_files, interruption, settings
from dtrm_jax.compilation_cache import keep_compilations
from dtrm_jax.config import Config, validate
from dtrm_jax.errors import InputError, did_you_mean, exit_status, printable
from dtrm_jax.host_memory import keep_freed_memory

_DEBUG = flags.DEFINE_bool("debug", False, "Print tracebacks of errors in the input, and the libraries' notices.")


def run(
    main: Callable[..., int | None],
    commands: Sequence[str] = (),
    module: str = "__main__",
    listing: Callable[[], str] | None = None,
    files: bool = False,
) -> None:
    """Parses the flags and runs ``main``; bad input ends the program with one line and status 2.

    Args:
        main: The program. If there are commands or files, it is given those that were named.
        commands: The values that the one argument besides the flags may have. If empty, there is no such argument.
        module: Name of the module that defines the command's flags. ``--help`` shows its docstring and its flags.
        listing: Returns what ``--help`` shows after the flags, such as what the commands are.
        files: Whether the arguments besides the flags are files.
    """
    _print_utf8()
    interruption.begin_command()

    def wrapped(arguments: list[str]) -> int | None:
        if not _DEBUG.value:
            _silence_libraries()

        def command() -> int | None:
            prepare_process()
            if commands and (len(arguments) != 2 or arguments[1] not in commands):
                found = " ".join(arguments[1:])
                nearest = did_you_mean(found, commands) if len(arguments) == 2 else ""
                raise InputError(f"expected one of {', '.join(commands)}, found {found or 'nothing'}{nearest}")
            if not commands and not files and len(arguments) > 1:
                raise InputError(f"unexpected argument {arguments[1]!r}")
            return main(*arguments[1:])

        if _DEBUG.value:
            return command()
        status = exit_status(lambda: _printed(command))
        interruption.end_command()
        return status

    def parse(arguments: list[str]) -> list[str]:
        asked = command_help.asked(arguments[1:])
        if asked is not None:
            texts = command_help.Texts(sys.modules[module], shared=sys.modules[__name__], listing=listing)
            sys.exit(exit_status(lambda: _show(texts.answer(asked))))
        return _parse_flags(arguments)

    app.run(wrapped, flags_parser=parse)


def _print_utf8() -> None:
    """Makes what is printed UTF-8 where the system's own encoding lacks characters of ours or of the data.

    On Windows that is what a pipe or a file gets; a terminal has all characters anyway.
    """
    if sys.platform == "win32":
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8")


def _silence_libraries() -> None:
    """Hides what other libraries log, and the tracebacks of their threads.

    Those that write a checkpoint log every failure, each with its traceback, before it becomes our one error.
    """
    logging.set_verbosity(logging.FATAL)
    standard_logging.getLogger("asyncio").setLevel(standard_logging.CRITICAL + 1)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable
    # A compiled program that cannot be kept, or was kept by half, is compiled again.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")


def _thread_failed(what: threading.ExceptHookArgs) -> None:
    name = what.thread.name if what.thread is not None else "a thread"
    print(printable(f"warning: {name} failed: {what.exc_type.__name__}: {what.exc_value}"), file=sys.stderr)


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Hides what fails in no object of Python: TensorStore's threads, whose event loop a failed save has closed."""
    if what.object is not None:
        sys.__unraisablehook__(what)


def _printed(command: Callable[[], int | None]) -> int | None:
    """Runs a command; returns its status when all that it printed is written.

    Raises:
        InputError: It cannot be, as on a full disk.
    """
    try:
        status = command()
        _flush()
    except OSError as error:
        # What fails for want of space and names no file is what was printed: those who write files name them.
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes when it ends
        raise InputError(f"standard output: {error.strerror}") from error
    return status


def _flush() -> None:
    """Writes what was printed; a reader such as ``head`` may have stopped reading."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python flushes when it ends


def _show(text: str) -> None:
    """Prints a text."""
    with contextlib.suppress(BrokenPipeError):
        print(text)
    _flush()


def _parse_flags(arguments: list[str]) -> list[str]:
    """As absl's, but a config that does not load or a setting that does not exist is one line too."""
    try:
        return flags.FLAGS(arguments)
    except Exception as error:  # a config is a program, whose mistakes may be of any kind
        if "--debug" in arguments:
            raise
        print(f"error: {_unknown_setting(arguments) or _reason(error)}", file=sys.stderr)
        sys.exit(2)


def _unknown_setting(arguments: Sequence[str]) -> str:
    """Returns what is wrong with the first setting on the command line that does not exist; empty if all do."""
    config = Config()
    known = [path for path, *_ in settings.leaves(config)]
    for argument in arguments:
        flag = argument.partition("=")[0].lstrip("-")
        path = flag.removeprefix("no").removeprefix("config.")
        if not argument.startswith("-") or path in (flag, flag.removeprefix("no"), *known):
            continue
        inside = [name for name in known if name.startswith(f"{path}.")]
        if inside:
            return f"{argument}: a section of settings, expected one of them, such as --config.{inside[0]}"
        nearest = settings.nearest_setting(path, config, "--config.")
        return f"{argument}: no such setting; --help_settings lists them all{nearest}"
    return ""


def _reason(error: Exception) -> str:
    """Returns what went wrong with the flags in a line; absl puts an error of a config file into one of its own."""
    cause = error.__context__
    return str(cause) if isinstance(cause, InputError) else printable(" ".join(str(error).split()))


class _ConfigByName(flags.ArgumentParser):
    """Runs the config of a name or a path."""

    def __init__(self, of_path: flags.ArgumentParser):
        super().__init__()
        self._of_path = of_path

    def parse(self, argument: str) -> Config:
        """Returns the config of a name or a path."""
        return config_files.run(argument)

    def flag_type(self) -> str:
        """Returns the name of the flag's value in ``--help``."""
        return self._of_path.flag_type()


def define_config(description: str) -> flags.FlagHolder:
    """Defines the flag ``--config``, which takes a name or a path, and ``--config.section.setting`` for every setting.

    It must be given.

    Args:
        description: Its text in ``--help``.

    Returns:
        The flag, for ``load_config``.
    """
    holder = config_flags.DEFINE_config_file("config", None, description)
    flag = flags.FLAGS["config"]
    flag.parser = _ConfigByName(flag.parser)
    flags.mark_flag_as_required("config")
    return holder


def load_config(flag: flags.FlagHolder) -> Config:
    """Returns the validated config of a ``config_flags`` flag.

    Raises:
        InputError: The file does not exist or does not run, or a setting is bad.
    """
    return validate(flag.value)


def prepare_process() -> None:
    """Sets this process up as every command does: freed memory is kept, and so are compiled programs between runs.

    The user's own settings for either, glibc's and JAX's variables, hold.
    """
    keep_freed_memory()
    keep_compilations()
