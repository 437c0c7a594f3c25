"""The folders of checkpoints on disk: which there are, what they were scored, and what is damaged.

<step>/state/       the arrays
<step>/progress/    JSON values
<step>/metrics/     dev scores, if there are any
<step>/SHA256SUMS   of all files
.deleted/<step>/    a checkpoint that is being deleted: it gives up its name before it loses its files
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dtrm_jax import checksums
from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json

DELETED = ".deleted"
# Orbax writes these when all else is on disk.
LATER = ("_CHECKPOINT_METADATA", "commit_success.txt")

_PROGRESS, _METRICS = "progress/metadata", "metrics/metrics"
_PARTS = ("_CHECKPOINT_METADATA", "state", "progress")


class Steps:
    """The checkpoints of a folder.

    Args:
        path: The folder.
        resumable: Whether training can go on from them.
    """

    def __init__(self, path: Path, *, resumable: bool = True):
        self._path, self._resumable = path, resumable

    def folder(self, step: int) -> Path:
        """Returns the folder of a checkpoint."""
        return self._path / str(step)

    def all(self) -> list[int]:
        """Returns the steps of all checkpoints, in order."""
        return sorted(int(folder.name) for folder in self._named() if _is_complete(folder))

    def sweep(self) -> None:
        """Removes the checkpoints that have given up their names."""
        if (self._path / DELETED).exists():
            shutil.rmtree(self._path / DELETED, ignore_errors=True)

    def remove_leftovers(self) -> list[Path]:
        """Removes what an interrupted deletion has left; returns the folders that had the name of a step."""
        self.sweep()
        leftovers = [folder for folder in self._named() if not _is_complete(folder)]
        for folder in leftovers:
            shutil.rmtree(folder)
        return leftovers

    def scores(self, step: int) -> dict[str, float] | None:
        """Returns the dev scores of a checkpoint, if there are any.

        Raises:
            InputError: They are damaged.
        """
        folder = self.folder(step)
        try:
            listed = checksums.read(folder) or {}
        except InputError as error:
            raise self.refused(step, str(error)) from error
        if not (folder / "metrics").exists() and _METRICS not in listed:
            return None
        return self._read(step, _METRICS, lambda found: all(isinstance(value, int | float) for value in found.values()))

    def progress(self, step: int) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint.

        Raises:
            InputError: They are damaged.
        """
        return self._read(step, _PROGRESS)

    def check(self, step: int) -> None:
        """Checks every file of a checkpoint.

        Raises:
            InputError: One is damaged; says how to go on.
        """
        if problem := checksums.problem(self.folder(step), later=LATER):
            raise self.refused(step, problem)

    def refused(self, step: int, problem: str) -> InputError:
        """Returns the error of a damaged checkpoint: what it is, and how to go on without it."""
        if not self.folder(step).exists():
            return InputError(f"{self.folder(step)}: this checkpoint was deleted while it was read; try again")
        for other in sorted(set(self.all()) - {step}, reverse=True):
            if not checksums.problem(self.folder(other), later=LATER):
                return InputError(
                    f"{problem}; the newest other checkpoint that is intact is that of step {other}: --step={other} "
                    f"reads it, and training goes on from it once the folder {self.folder(step)} is deleted"
                )
        anew = f": training begins anew once the folder {self._path} is deleted" if self._resumable else ""
        return InputError(f"{problem}; no other checkpoint is intact{anew}")

    def _named(self) -> list[Path]:
        """Returns the folders that are called as a step."""
        if not self._path.is_dir():
            return []
        named = [entry for entry in self._path.iterdir() if entry.name.isdecimal() and entry.name.isascii()]
        return [entry for entry in named if entry.name == str(int(entry.name)) and entry.is_dir()]

    def _read(
        self, step: int, name: str, fits: Callable[[dict[str, Any]], bool] = lambda found: True
    ) -> dict[str, Any]:
        file = self.folder(step) / name
        if problem := checksums.problem(self.folder(step), [name]):
            raise self.refused(step, problem)
        try:
            found = read_json(file, "a file of a checkpoint")
        except InputError as error:
            raise self.refused(step, str(error)) from error
        if not isinstance(found, dict) or not fits(found):
            raise self.refused(step, f"{file}: expected a JSON object, found another value: the file is damaged")
        return found


def _is_complete(folder: Path) -> bool:
    """Whether a folder is a checkpoint; those without sums are from before there were any."""
    return (folder / checksums.FILE).exists() or all((folder / name).exists() for name in _PARTS)
