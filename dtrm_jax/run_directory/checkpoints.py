"""Checkpoints of a run, by Orbax: the best by the dev metric and the latest are kept."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from dtrm_jax import checksums
from dtrm_jax.errors import InputError, disk_problem
from dtrm_jax.run_directory.orbax_files import described, without_warnings
from dtrm_jax.run_directory.places import check_place
from dtrm_jax.run_directory.steps import DELETED, LATER, Steps
from dtrm_jax.tasks import METRICS


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint's content.

    Attributes:
        step: Steps done when it was written.
        state: The tree that was saved, or only its parameters.
        progress: JSON values saved beside it.
    """

    step: int
    state: Any
    progress: dict[str, Any]


class Checkpoints:
    """Orbax checkpoints: the best by the dev metric and the latest are kept.

    A checkpoint appears under its name only when it is complete, with the SHA-256 of its files; one that was
    interrupted is never restored, and none is restored without a look at its files. One that is deleted gives up its
    name before it loses its files.

    Attributes:
        removed: Folders that had the name of a step, and were no checkpoints; they are gone.
    """

    def __init__(self, path: Path, select_by: str, read_only: bool, *, only_best: bool = False):
        """Opens the folder.

        Args:
            path: The folder.
            select_by: The dev metric that ranks checkpoints; if it is empty, the last one that was scored is the best.
            read_only: Whether nothing is written. The folder must then exist.
            only_best: Whether all but the best were removed, so that the one that is there is not the latest.

        Raises:
            InputError: There is no folder to read, none can be made, or, if not ``read_only``, the scores of a
                checkpoint are damaged.
        """
        self._path, self._select_by, self._only_best = path, select_by, only_best
        self._steps = Steps(path, resumable=not only_best)
        self._manager, self._saving, self.removed = None, None, []
        check_place(path, written=not read_only)
        if read_only:
            if not path.is_dir():
                raise InputError(f"{path}: no checkpoints, expected a run directory of a training")
            return
        self._is_main = jax.process_index() == 0
        if self._is_main:
            self.removed = self._steps.remove_leftovers()
        self._manager = self._open()
        self._scores = {step: self._steps.scores(step) for step in self._steps.all()}

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(self),
            best_fn=lambda scores: scores["step"],  # without one, no scores are written; the policy does not ask it
            cleanup_tmp_directories=True,
            todelete_subdir=DELETED,
            lightweight_initialize=True,  # the scores are read here
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        return ocp.CheckpointManager(self._path, options=options, item_names=("state", "progress"))

    def _rank(self, step: int, scores: dict[str, float]) -> tuple[float, int]:
        """Best score first; of equals, the earlier."""
        if not self._select_by:
            return (0.0, step)
        if self._select_by not in scores:
            raise InputError(
                f"{self._steps.folder(step)}: expected a checkpoint with its dev {self._select_by}, found "
                f"{', '.join(scores)}"
            )
        return (METRICS[self._select_by].signed(scores[self._select_by]), -step)

    def kept(self, steps: Sequence[int]) -> set[int]:
        """Returns those of ``steps`` that stay: the latest, and the best."""
        scored = {step: self._scores[step] for step in steps if self._scores.get(step) is not None}
        best = [max(scored, key=lambda step: self._rank(step, scored[step]))] if scored else []
        return {max(steps), *best}

    def save(self, step: int, state: Any, progress: dict[str, Any], metrics: dict[str, float] | None) -> None:
        """Writes a checkpoint in the background.

        Args:
            step: Steps done.
            state: A tree of arrays.
            progress: JSON values. ``best_step``, if it is among them, is the best checkpoint so far.
            metrics: Dev scores, if this step was evaluated.

        Raises:
            InputError: It, or the one before it, could not be written (a full disk); earlier ones are intact.
        """
        self.wait()
        self._saving, self._scores[step] = step, metrics
        if metrics is not None:
            metrics = {**metrics, "step": step}
        arguments = ocp.args.Composite(state=ocp.args.PyTreeSave(state), progress=ocp.args.JsonSave(progress))
        with self._reporting():
            self._manager.save(step, args=arguments, metrics=metrics, force=True)

    def _seal(self) -> None:
        """Reads back what there is of a checkpoint, and writes its sums, before it gets its name.

        It runs in Orbax's thread. Only then is an older checkpoint deleted.

        Raises:
            InputError: The arrays did not arrive.
        """
        unfinished = [*self._path.glob(f"{self._saving}.*")]
        folder = unfinished[0] if unfinished else self._steps.folder(self._saving)
        if not described(folder / "state"):
            raise InputError(f"{folder / 'state'}: expected the arrays that were written, found none")
        checksums.write(folder, checksums.files(folder) - set(LATER))

    def wait(self) -> None:
        """Blocks until everything is on disk; raises InputError if it could not be written."""
        with self._reporting():
            self._manager.wait_until_finished()
            if self._saving is not None and self._is_main:
                checksums.append(self._steps.folder(self._saving), LATER)
                self._steps.sweep()
            self._saving = None

    def close(self) -> None:
        """Waits and releases the threads; there is nothing to close where checkpoints are only read."""
        if self._manager is not None:
            self.wait()
            self._manager.close()

    def resolve(self, which: str) -> int:
        """Returns the step of "best", "latest" or a number.

        Raises:
            InputError: There is no such checkpoint, or damage hides which one it is.
        """
        steps = self._steps.all()
        if which == "latest" and self._only_best:
            raise InputError(f"{self._path}: this run was pruned: only the best checkpoint is left, no latest one")
        if which == "latest" and steps:
            return steps[-1]
        if which == "best" and (best := self._best(steps)) is not None:
            return best
        if which.isdecimal() and int(which) in steps:
            return int(which)
        there = f"found steps {', '.join(map(str, steps))}" if steps else "found none"
        raise InputError(f"{self._path}: expected the checkpoint {which!r} (best, latest or a step), {there}")

    def _best(self, steps: Sequence[int]) -> int | None:
        scored: dict[int, dict[str, float]] = {}
        damage = None
        for step in steps:
            try:
                if (scores := self._steps.scores(step)) is not None:
                    scored[step] = scores
            except InputError as error:
                damage = error
        if damage is None:
            return max(scored, key=lambda step: self._rank(step, scored[step]), default=None)
        for step in reversed(steps):  # what training took for the best when it saved the newest of them
            with contextlib.suppress(InputError):
                if (best := self._steps.progress(step).get("best_step")) in steps:
                    return best
        raise damage

    def latest(self) -> int | None:
        """Returns the last step that was saved, or None."""
        return max(self._steps.all(), default=None)

    def restore(self, step: int, like: Any) -> Restored:
        """Reads a checkpoint.

        Args:
            step: Which.
            like: A tree of arrays or ShapeDtypeStructs of the same structure, with the wanted shardings. A tree that
                holds only some of the top-level entries restores only those.

        Raises:
            InputError: It is damaged, or does not fit ``like``.
        """
        self._steps.check(step)
        return self._restored(step, like)

    def _restored(self, step: int, like: Any) -> Restored:
        """As ``restore``, of a checkpoint whose files have been checked."""
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            with without_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
                state = checkpointer.restore(
                    self._steps.folder(step) / "state",
                    args=ocp.args.PyTreeRestore(
                        item=template,
                        restore_args=ocp.checkpoint_utils.construct_restore_args(template),
                        partial_restore=True,
                    ),
                )
        except Exception as error:  # Orbax and TensorStore raise any kind
            raise self._unreadable(step, error) from error
        # What is not in the checkpoint is left as it was asked for.
        if absent := [
            path for path, leaf in jax.tree.leaves_with_path(state) if isinstance(leaf, jax.ShapeDtypeStruct)
        ]:
            raise self._unreadable(step, f"expected {jax.tree_util.keystr(absent[0])}, found no such array")
        return Restored(step, state, self._steps.progress(step))

    def restore_params(self, step: int) -> Restored:
        """Reads the parameters of a checkpoint alone, as ``{"params": ...}``, whatever their structure is.

        Raises:
            InputError: It is damaged.
        """
        self._steps.check(step)
        on_one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            stored = described(self._steps.folder(step) / "state")["params"]
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_one), stored)
        except Exception as error:
            raise self._unreadable(step, error) from error
        return self._restored(step, {"params": like})

    def scores(self, step: int) -> dict[str, float] | None:
        """Returns the dev scores that a checkpoint was saved with, if there are any; InputError if damaged."""
        found = self._steps.scores(step)
        return None if found is None else {name: value for name, value in found.items() if name != "step"}

    def progress(self, step: int) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint alone; InputError if they are damaged."""
        return self._steps.progress(step)

    def unfit(self, step: int, error: Exception) -> InputError:
        """Returns the error of JSON values that are not those of a training."""
        return self._steps.refused(step, f"{self._steps.folder(step)}: not the progress of a training: {_line(error)}")

    def _unreadable(self, step: int, reason: Exception | str) -> InputError:
        problem = f"{self._steps.folder(step)}: cannot restore this checkpoint: {_line(reason)}"
        # Files that are what was written need no advice to delete them: the model is another one, or memory is short.
        is_checked = checksums.read(self._steps.folder(step)) is not None
        return InputError(problem) if is_checked else self._steps.refused(step, problem)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turns the many exceptions of a failed write into one line."""
        try:
            yield
        except Exception as error:
            newest = self.latest()
            intact = "there is no earlier one" if newest is None else f"the newest good one is step {newest}"
            reason = disk_problem(error) or _line(error)
            raise InputError(f"{self._path}: cannot save a checkpoint ({reason}); {intact}") from error


class _Kept(PreservationPolicy):
    """Says to Orbax which checkpoints stay."""

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints = checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """Returns for each checkpoint whether it stays."""
        kept = self._checkpoints.kept([one.step for one in checkpoints]) if checkpoints else ()
        return [one.step in kept for one in checkpoints]


def placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Returns the shapes of a tree's arrays with a sharding: what ``Checkpoints.restore`` is told to make."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _line(error: Exception | str) -> str:
    return next(iter(str(error).strip().splitlines()), "") or repr(error)
