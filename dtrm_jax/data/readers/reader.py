"""The interface of a corpus: a fingerprint of its source, and a way to read it."""

import dataclasses
import hashlib
import importlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

from dtrm_jax import config as config_lib
from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Dataset
from dtrm_jax.errors import InputError
from dtrm_jax.user_paths import expanded

# The settings of ``DataConfig`` that some corpora take, and that others refuse.
OPTIONS = ("columns", "labels", "test_session")


class Reader(Protocol):
    """The module of a reader of files.

    Where the files can be downloaded freely, it has ``download(folder)`` too, which makes sure that they are in
    ``folder`` and returns it; it raises InputError if there is no network.
    """

    def files(self, source: pathlib.Path) -> tuple[pathlib.Path, ...]:
        """Returns the files that ``read`` reads, in a fixed order.

        Args:
            source: The folder of the corpus, or one file of it.

        Raises:
            InputError: Files are missing.
        """

    def read(self, source: pathlib.Path, **options: Any) -> Dataset:
        """Reads the corpus.

        Args:
            source: The folder of the corpus, or one file of it.
            **options: The settings that the corpus takes (``Files.options``).

        Raises:
            InputError: A file is missing or malformed; names the file and the record.
        """


@dataclasses.dataclass(frozen=True)
class Source:
    """A corpus that has been found, but not read.

    Attributes:
        fingerprint: SHA-256 of everything that the result of ``read`` depends on, in hexadecimal.
        read: Reads the corpus.
    """

    fingerprint: str
    read: Callable[[], Dataset]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files:
    """A corpus in files.

    Attributes:
        version: Of the reader. Raise it whenever the reader's output changes for the same files.
        module: A ``Reader``.
        needs: What the source folder must hold, with its verb, for the error that asks for the folder.
        options: Which of ``OPTIONS`` its ``read`` takes.
    """

    version: int
    module: str
    needs: str
    options: tuple[str, ...] = ()
    knows_optimum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises TypeError for options that would never reach ``read``."""
        if others := set(self.options) - set(OPTIONS):
            raise TypeError(f"{self.module}: {', '.join(sorted(others))} must stand in OPTIONS of {__name__}, too")

    def locate(self, config: DataConfig, cache: pathlib.Path) -> Source:
        """Finds the files.

        Args:
            config: ``source`` falls back to ``$DTRM_<NAME>_SOURCE``, and then to a download if there is one.
            cache: The folder for downloads.

        Raises:
            InputError: Files are missing or cannot be read.
        """
        reader = cast(Reader, importlib.import_module(self.module))
        options = _options(config, self.options)
        folder = self._folder(reader, config, cache)
        digest = hashlib.sha256(f"{config.name} {self.version}\n".encode())
        if options:
            digest.update(json.dumps(options, sort_keys=True).encode())
        for path in reader.files(folder):
            digest.update(path.name.encode() + b"\n")  # names say which split or attribute a file is
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        return Source(digest.hexdigest(), lambda: reader.read(folder, **options))

    def _folder(self, reader: Reader, config: DataConfig, cache: pathlib.Path) -> pathlib.Path:
        variable = f"DTRM_{config.name.upper()}_SOURCE"
        named = config.source or os.environ.get(variable)
        if named:
            return expanded(named)
        if download := getattr(reader, "download", None):
            return download(cache / "downloads" / config.name)
        raise InputError(
            f"{config.name.upper()}: {self.needs} needed; name the folder with --config.data.source=DIR or ${variable}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated:
    """A corpus that is generated from settings of its own, the section of ``DataConfig`` with its name.

    Attributes:
        version: Of the generator, as the version of a reader.
        module: Has ``generate(settings) -> Dataset``.
        rules: The module of its rules. The code of both modules counts like the content of files.
    """

    version: int
    module: str
    rules: str
    knows_optimum: ClassVar[bool] = True  # the best possible accuracy follows from the rules

    def locate(self, config: DataConfig, cache: pathlib.Path) -> Source:
        """Returns the generator with its settings; nothing is looked up in ``cache``."""
        _options(config, ())
        generator, rules = importlib.import_module(self.module), importlib.import_module(self.rules)
        settings = getattr(config, config.name)
        digest = hashlib.sha256(f"{config.name} {self.version}\n".encode())
        for module in (generator, rules):
            digest.update(pathlib.Path(str(module.__file__)).read_bytes())
        digest.update(json.dumps(config_lib.to_dict(settings), sort_keys=True).encode())
        return Source(digest.hexdigest(), lambda: generator.generate(settings))


def _options(config: DataConfig, taken: tuple[str, ...]) -> dict[str, Any]:
    """Returns the settings for a reader that are not empty.

    Raises:
        InputError: One of them is not for this corpus.
    """
    options = {name: value for name in OPTIONS if (value := getattr(config, name))}
    if others := [name for name in options if name not in taken]:
        raise InputError(
            f"config.data.{others[0]}: {config.name} does not take it, found {options[others[0]]!r}; leave it empty"
        )
    return options
