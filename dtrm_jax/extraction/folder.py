"""The folder that features are extracted into: it appears when it is complete.

Until then there is ``<folder>.unfinished`` beside it, from which the same command goes on:

    extraction.json  the settings, by which the command is known to be the same
    lock             held by the process that extracts
    clips.sqlite     what was extracted so far (``store.Store``)
    complete/        the files of the folder, while they are written
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json, write_json
from dtrm_jax.replacing import put_folder
from dtrm_jax.user_paths import new_folder

RECORD = "extraction.json"
_LOCK = "lock"
_FOLDER = "a folder that dtrm-extract has written"


class Folder:
    """The folder of an extraction.

    Args:
        path: The folder.
        settings: What the features depend on, of JSON types.

    Raises:
        InputError: The folder is the current one.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        self.path, self._settings = new_folder(path), dict(settings)
        self.unfinished = self.path.with_name(f"{self.path.name}.unfinished")

    def complete(self) -> dict[str, Any] | None:
        """Returns what the folder's record says if it holds the features already, else None.

        Raises:
            InputError: It holds something else: features of other settings, other files, or it is none; or what is
                unfinished is no folder of an extraction.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: expected a new folder to extract into, found a file")
        if not self.path.exists() or not any(self.path.iterdir()):
            self._require_own()
            return None
        if not (self.path / RECORD).is_file():
            raise InputError(f"{self.path}: expected a new or an empty folder, found files, which are kept")
        record = self._checked(self.path)
        if (self.unfinished / RECORD).is_file():  # of a process that was killed in its last moment
            self._checked(self.unfinished)
            self._remove()
        return record

    @contextlib.contextmanager
    def begun(self) -> Iterator[Path]:
        """Yields the folder of what is unfinished, which belongs to this process alone, and removes it at the end.

        It is kept if there is an exception, so that the same command goes on there.

        Raises:
            InputError: Another process extracts there, an extraction of other settings was begun there, or it holds
                other files.
        """
        self._require_own()
        self.unfinished.mkdir(parents=True, exist_ok=True)
        try:
            held = filelock.FileLock(self.unfinished / _LOCK).acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(f"{self.unfinished}: another process is extracting there") from None
        with held:
            if (self.unfinished / RECORD).is_file():
                self._checked(self.unfinished)
            else:
                write_json(self.unfinished / RECORD, self._settings)
            yield self.unfinished
        self._remove()

    @contextlib.contextmanager
    def appearing(self, about: dict[str, Any]) -> Iterator[Path]:
        """Yields a new folder for the files; it then becomes the folder, all at once.

        Args:
            about: What people want to know of it, of JSON types; may be completed inside the context.
        """
        new = self.unfinished / "complete"
        shutil.rmtree(new, ignore_errors=True)  # of a process that was killed while it wrote
        new.mkdir()
        yield new
        write_json(new / RECORD, {**self._settings, **about})
        put_folder(new, self.path)

    def _require_own(self) -> None:
        """Raises InputError if what is unfinished holds files of people, as it is removed in the end."""
        if not self.unfinished.is_dir() or (self.unfinished / RECORD).is_file():
            return
        for path in self.unfinished.iterdir():
            # Of a process that was killed before there was a record.
            if path.name != _LOCK and not path.match(f".{RECORD}.*.tmp"):
                raise InputError(
                    f"{self.unfinished}: expected a folder that dtrm-extract has begun, found {path.name}, which is "
                    f"kept; choose another folder than {self.path.name}"
                )

    def _remove(self) -> None:
        """Removes what is unfinished, the record last: until then it is known as the folder of an extraction."""
        for path in self.unfinished.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != RECORD:
                path.unlink()
        shutil.rmtree(self.unfinished)

    def _checked(self, folder: Path) -> dict[str, Any]:
        """Returns the record in a folder; raises InputError if it is of other settings, and names the first."""
        found = read_json(folder / RECORD, _FOLDER)
        if not isinstance(found, dict):
            raise InputError(f"{folder / RECORD}: expected {_FOLDER}, found {type(found).__name__}")
        for name, value in self._settings.items():
            if found.get(name) != value:
                raise InputError(
                    f"{folder}: was extracted with {name} {_shown(found.get(name))}, expected {_shown(value)}; choose "
                    "another folder"
                )
        return found


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) < 80 else f"{text[:40]}...{text[-30:]}"
