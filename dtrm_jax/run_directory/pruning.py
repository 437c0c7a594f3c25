"""Pruning a run: of its checkpoints, the best parameters alone are left.

The new folder appears under its name only when it is complete, and from then on it is what is read, whether the old one
is still there or not. So whatever interrupts pruning leaves a run that can be used, and pruning again completes it.
"""

import dataclasses
import os
import shutil
from pathlib import Path

from dtrm_jax import interruption
from dtrm_jax.run_directory.checkpoints import Checkpoints
from dtrm_jax.run_directory.folder import RunDirectory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pruned:
    """What pruning has done.

    Attributes:
        step: Of the parameters that are left.
        before: Bytes of the run directory before.
        after: Bytes of the run directory now.
    """

    step: int
    before: int
    after: int


def prune(run: RunDirectory) -> Pruned:
    """Leaves the best parameters alone; the run can then be evaluated, used and exported, but not resumed.

    A run that is pruned already is left as it is.

    Raises:
        InputError: The directory is not a run, it is being trained, or no checkpoint of it was scored on dev.
    """
    select_by = run.read_config().train.ranked_by
    before = _bytes(run.path)
    with run.locked():
        if not run.is_pruned():
            checkpoints = run.checkpoints(select_by, read_only=True)
            _write_best(checkpoints, run.pruned.with_name(f".{run.pruned.name}.tmp"), select_by, run.pruned)
        if run.all_checkpoints.exists():
            shutil.rmtree(run.all_checkpoints)
        step = run.checkpoints(select_by, read_only=True).resolve("best")
    return Pruned(step=step, before=before, after=_bytes(run.path))


def _write_best(checkpoints: Checkpoints, unfinished: Path, select_by: str, finished: Path) -> None:
    """Writes the best parameters to a folder of their own, which gets its name when it is on disk."""
    best = checkpoints.restore_params(checkpoints.resolve("best"))
    if unfinished.exists():
        shutil.rmtree(unfinished)  # left behind by a pruning that was interrupted
    with interruption.unfinished(lambda: [unfinished]):
        new = Checkpoints(unfinished, select_by, read_only=False)
        try:
            new.save(best.step, best.state, best.progress, checkpoints.scores(best.step))
        finally:
            new.close()
        if hasattr(os, "sync"):  # Windows has none
            os.sync()  # before anything is deleted
        os.replace(unfinished, finished)


def _bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
