"""Checkpoints of a run, by Orbax: the best by the dev metric and the latest are kept."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from dtrm_jax.errors import InputError
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

    A checkpoint appears under its name only when it is complete; one that was interrupted is never restored.
    """

    def __init__(self, path: Path, select_by: str, read_only: bool, *, only_best: bool = False):
        """Opens the folder.

        Args:
            path: The folder.
            select_by: The dev metric that ranks checkpoints.
            read_only: Whether nothing is written. The folder must then exist.
            only_best: Whether all but the best were removed, so that the one that is there is not the latest.

        Raises:
            InputError: There is no folder to read.
        """
        self._path, self._select_by, self._only_best = path, select_by, only_best
        if read_only and not path.is_dir():
            raise InputError(f"{path}: no checkpoints, expected a run directory of a training")
        keep_best = ocp.checkpoint_managers.BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
        policy = ocp.checkpoint_managers.AnyPreservationPolicy([ocp.checkpoint_managers.LatestN(1), keep_best])
        options = ocp.CheckpointManagerOptions(
            preservation_policy=None if read_only else policy,
            best_fn=self._rank,
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            **({"save_interval_steps": 0} if read_only else {}),  # as Orbax would set it, with a warning
        )
        with _without_warnings() if read_only else contextlib.nullcontext():
            self._manager = ocp.CheckpointManager(path, options=options, item_names=("state", "progress"))

    def _rank(self, metrics: dict[str, float]) -> tuple[float, int]:
        """Best score first; of equals, the earlier."""
        return (METRICS[self._select_by].signed(metrics[self._select_by]), -int(metrics["step"]))

    def save(self, step: int, state: Any, progress: dict[str, Any], metrics: dict[str, float] | None) -> None:
        """Writes a checkpoint in the background.

        Args:
            step: Steps done.
            state: A tree of arrays.
            progress: JSON values.
            metrics: Dev scores, if this step was evaluated.

        Raises:
            InputError: It, or the one before it, could not be written (a full disk); earlier ones are intact.
        """
        if metrics is not None:
            metrics = {**metrics, "step": step}
        arguments = ocp.args.Composite(state=ocp.args.PyTreeSave(state), progress=ocp.args.JsonSave(progress))
        with self._reporting():
            self._manager.save(step, args=arguments, metrics=metrics, force=True)

    def wait(self) -> None:
        """Blocks until everything is on disk; raises InputError if it could not be written."""
        with self._reporting():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the threads."""
        self.wait()
        self._manager.close()

    def resolve(self, which: str) -> int:
        """Returns the step of "best", "latest" or a number.

        Raises:
            InputError: There is no such checkpoint.
        """
        steps = sorted(self._manager.all_steps())
        if which == "latest" and self._only_best:
            raise InputError(f"{self._path}: this run was pruned: only the best checkpoint is left, no latest one")
        if which == "latest" and steps:
            return steps[-1]
        if which == "best" and steps:
            best = self._manager.best_step()
            if best is not None:
                return best
        if which.isdecimal() and int(which) in steps:
            return int(which)
        there = f"found steps {', '.join(map(str, steps))}" if steps else "found none"
        raise InputError(f"{self._path}: expected the checkpoint {which!r} (best, latest or a step), {there}")

    def latest(self) -> int | None:
        """Returns the last step that was saved, or None."""
        return self._manager.latest_step()

    def restore(self, step: int, like: Any) -> Restored:
        """Reads a checkpoint.

        Args:
            step: Which.
            like: A tree of arrays or ShapeDtypeStructs of the same structure, with the wanted shardings. A tree that
                holds only some of the top-level entries restores only those.

        Raises:
            InputError: It does not fit ``like`` or is damaged.
        """
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeRestore(
                        item=template,
                        restore_args=ocp.checkpoint_utils.construct_restore_args(template),
                        partial_restore=True,
                    ),
                    progress=ocp.args.JsonRestore(),
                ),
            )
        except (ValueError, KeyError, OSError) as error:
            raise self._damaged(step, error) from error
        # What is not in the checkpoint is left as it was asked for.
        leaves = jax.tree.leaves_with_path(restored["state"])
        if absent := [path for path, leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)]:
            raise self._damaged(step, ValueError(f"expected {jax.tree_util.keystr(absent[0])}, found no such array"))
        return Restored(step, restored["state"], restored["progress"])

    def restore_params(self, step: int) -> Restored:
        """Reads the parameters of a checkpoint alone, as ``{"params": ...}``, whatever their structure is.

        Raises:
            InputError: It is damaged.
        """
        on_one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            with ocp.PyTreeCheckpointer() as checkpointer:
                stored = checkpointer.metadata(self._path / str(step) / "state").item_metadata.tree["params"]
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=on_one), stored)
        except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
            raise self._damaged(step, error) from error
        return self.restore(step, {"params": like})

    def scores(self, step: int) -> dict[str, float] | None:
        """Returns the dev scores that a checkpoint was saved with, if there are any."""
        found = self._manager.metrics(step)
        return None if found is None else {name: value for name, value in found.items() if name != "step"}

    def _damaged(self, step: int, error: Exception) -> InputError:
        return InputError(f"{self._path / str(step)}: cannot restore this checkpoint: {_first_line(error)}")

    def progress(self, step: int) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint alone."""
        return self._manager.restore(step, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))["progress"]

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turns the many exceptions of a failed write into one line."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self._path}: cannot save a checkpoint, earlier ones are intact: {_first_line(error)}"
            ) from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps Orbax from warning that a folder which is opened for reading is read-only."""
    logger = logging.getLogger("absl")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)


def placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Returns the shapes of a tree's arrays with a sharding: what ``Checkpoints.restore`` is told to make."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
