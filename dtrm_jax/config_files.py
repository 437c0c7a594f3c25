"""Config files by name or by path: ``meld`` is the file ``configs/meld.py`` that comes with the package.

A config file is a Python program with a function ``get_config`` that returns a ``dtrm_jax.config.Config``. Those of the
project stand in ``configs/`` of a checkout, and travel in ``dtrm_jax/configs/`` of an installed package. The
``config.json`` that a run directory keeps is a config file too, and so is the run directory.
"""

import ast
import re
import runpy
import traceback
from pathlib import Path

from dtrm_jax.config import Config, from_dict, validate
from dtrm_jax.errors import InputError, did_you_mean
from dtrm_jax.json_file import read_json

KEPT = "config.json"  # in a run directory
_PACKAGE = Path(__file__).parent
_NAME = re.compile(r"[\w-]+")  # no separator and no suffix: everything else is a path


def names() -> list[str]:
    """Returns the names of the configs that come with the package, in alphabetical order."""
    return sorted(file.stem for file in _folder().glob("*.py") if file.stem != "__init__")


def summaries() -> dict[str, str]:
    """Returns the name -> the first line of the docstring of every config that comes with the package."""
    docstrings = {name: ast.get_docstring(ast.parse(find(name).read_text(encoding="utf-8"))) for name in names()}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def find(name_or_path: str) -> Path:
    """Returns the file of a config.

    Args:
        name_or_path: The name of a config that comes with the package, such as ``meld``, or the path of any file, or of
            a run directory. A file of that name in the working directory comes first.

    Raises:
        InputError: There is no such file and no config of that name. The message lists the names and the nearest.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if (path / KEPT).is_file():
        return path / KEPT
    there_are = f"the configs that come with the package are {', '.join(names())}"
    there_are += did_you_mean(path.stem, names())
    if not _NAME.fullmatch(name_or_path):
        raise InputError(f"No such file or directory: {name_or_path!r}; {there_are}")
    shipped = _folder() / f"{name_or_path}.py"
    if not shipped.is_file():
        raise InputError(f"no config is called {name_or_path!r}; {there_are}")
    return shipped


def load(name_or_path: str) -> Config:
    """Returns the validated config of a file.

    Args:
        name_or_path: As ``find`` takes it.

    Raises:
        InputError: There is no such file, it does not run, or a setting in it is bad.
    """
    return validate(run(name_or_path))


def run(name_or_path: str) -> Config:
    """Runs a config file and returns its config, whose settings are not checked yet.

    Args:
        name_or_path: As ``find`` takes it.

    Raises:
        InputError: There is no such file, it does not run, or it has no ``get_config`` that returns a ``Config``. The
            message names the file, and the line that failed.
    """
    path = find(name_or_path)
    if path.suffix == ".json":
        return from_dict(read_json(path, "the config of a run"))
    try:
        namespace = runpy.run_path(str(path))
        if not callable(namespace.get("get_config")):
            raise InputError(f"{path}: expected a function get_config, found none")
        config = namespace["get_config"]()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # a config is a program, and its mistakes may be of any kind
        raise InputError(f"{_place(path, error)}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        forgotten = "; is its return statement missing?" if config is None else ""
        raise InputError(f"{path}: expected get_config() to return a Config, found {type(config).__name__}{forgotten}")
    return config


def _place(path: Path, error: BaseException) -> str:
    """Returns the config file with the line of it that failed."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}, line {error.lineno}"
    own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {own[-1]}" if own else str(path)


def _folder() -> Path:
    """Returns the folder of the configs: inside the package if it is installed, beside it in a checkout."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"
