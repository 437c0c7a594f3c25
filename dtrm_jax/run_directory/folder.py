"""What a run keeps on disk.

    config.json        the resolved config
    run.json           what else the model is rebuilt from: label names, encoder sizes, the packs' shape
    tokenizer.json     the tokenizer, in the format of Hugging Face tokenizers, if text is encoded
    normalization.npz  mean and standard deviation of every acoustic, visual or utterance feature in the training split
    metrics.jsonl      one JSON object a line
    tensorboard/       the same as event files
    checkpoints/       Orbax: parameters, optimizer state, step, rng, and the position in the data
    eval/<split>/      results
    train.lock         held by the process that trains

The folder holds no absolute path that evaluation needs: it can be moved to another machine.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import jax
import orbax.checkpoint as ocp
from tokenizers import Tokenizer

from dtrm_jax import config as config_lib
from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders.bert_config import BertConfig
from dtrm_jax.replacing import replacing

# Settings that may differ when a run is resumed: they change where and how often something happens, not what is
# learned.
_FREE = ("data.source", "data.cache", "train.log_every_steps", "train.save_every_steps")

_NORMALIZATION = "normalization.npz"
# Dev metrics of which less is better.
_ERRORS = ("mae", "loss")


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What the model and the data of a run are rebuilt from, besides the config.

    Attributes:
        corpus: Name of the dataset.
        labels: Its label space: classes, or real values.
        encoder: Sizes of the utterance encoder; None if no text is encoded.
        shape: Shape of a training pack.
        total_steps: Steps of the whole run.
        data: ``fingerprint`` of the dataset; empty in runs from before it was kept.
    """

    corpus: str
    labels: LabelSpace | ValueSpace
    encoder: BertConfig | None
    shape: PackShape
    total_steps: int
    data: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the facts as nested dicts of JSON types."""
        kind = "values" if isinstance(self.labels, ValueSpace) else "classes"
        return json.loads(json.dumps(dataclasses.asdict(self) | {"labels": {kind: self.labels.names}}))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunFacts":
        """Inverts ``to_dict``."""
        (kind, names), shape = next(iter(values["labels"].items())), values["shape"]
        return cls(
            corpus=values["corpus"],
            labels={"classes": LabelSpace, "values": ValueSpace}[kind](tuple(names)),
            encoder=None if values["encoder"] is None else BertConfig(**values["encoder"]),
            shape=PackShape(
                tuple(map(tuple, shape["rows"])),
                shape["utterances"],
                shape["values"],
                tuple(map(tuple, shape["features"])),
                shape["own_tokens"],
            ),
            total_steps=values["total_steps"],
            data=values.get("data", {}),
        )


class RunDirectory:
    """A run's folder."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path).absolute()

    @property
    def metrics_file(self) -> Path:
        """The JSON lines of training."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files."""
        return self.path / "tensorboard"

    def evaluation(self, split: str) -> Path:
        """The folder of one split's results."""
        return self.path / "eval" / split

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.json").exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training here; the lock goes with the process, however that ends.

        Raises:
            InputError: Another process trains here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = filelock.FileLock(self.path / "train.lock").acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(f"{self.path}: another process is training this run") from None
        with held:
            yield

    def begin(self, config: Config, facts: RunFacts, tokenizer: Tokenizer | None, normalization: Normalization) -> None:
        """Creates the folder, or checks that the run begun here is the same.

        Settings that may differ, such as where the data lies now, are kept as they are now.

        Raises:
            InputError: Another config or other data was trained here; names what differs.
        """
        if self.exists():
            self._check_same("config.json", config_lib.to_dict(self.read_config()), config_lib.to_dict(config))
            self._check_same("run.json", self.read_facts().to_dict(), facts.to_dict())
            _write_json(self.path / "config.json", config_lib.to_dict(config))
            return
        self.path.mkdir(parents=True, exist_ok=True)
        if tokenizer is not None:
            tokenizer.save(str(self.path / "tokenizer.json"))
        normalization.save(self.path / _NORMALIZATION)
        _write_json(self.path / "run.json", facts.to_dict())
        # Last: its presence says that the folder is complete.
        _write_json(self.path / "config.json", config_lib.to_dict(config))

    def read_config(self) -> Config:
        """Returns the config of the run.

        Raises:
            InputError: The file is missing or not a config.
        """
        values = self._read_json("config.json")
        try:
            return config_lib.validate(config_lib.from_dict(values))
        except InputError as error:
            raise InputError(f"{self.path / 'config.json'}: {error}") from error

    def read_facts(self) -> RunFacts:
        """Returns the facts of the run; raises InputError if they are missing or damaged."""
        values = self._read_json("run.json")
        try:
            return RunFacts.from_dict(values)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path / 'run.json'}: not the facts of a run: {error!r}") from error

    def read_normalization(self) -> Normalization:
        """Returns the features' statistics; raises InputError if they are missing or damaged."""
        return Normalization.load(self.path / _NORMALIZATION)

    def read_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of the run; raises InputError if it is missing or damaged."""
        file = self.path / "tokenizer.json"
        try:
            return Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exceptions
            raise InputError(f"{file}: cannot read the tokenizer: {error}") from error

    def checkpoints(self, select_by: str, *, read_only: bool = False) -> "Checkpoints":
        """Opens the checkpoints; ``select_by`` is the dev metric that ranks them."""
        return Checkpoints(self.path / "checkpoints", select_by, read_only)

    def _read_json(self, name: str) -> Any:
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{file}: expected a run directory of train.py: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{file}: not valid JSON: {error}") from error

    def _check_same(self, name: str, there: dict[str, Any], here: dict[str, Any]) -> None:
        if changes := different_settings(there, here):
            raise InputError(
                f"{self.path / name}: the run begun here differs: {changes}; use another --workdir, "
                "or repeat the settings it was begun with"
            )


def different_settings(there: dict[str, Any], here: dict[str, Any], defaults: dict[str, Any] | None = None) -> str:
    """Says in a line what differs between two configs as dicts, but for settings that only say where and how often.

    Args:
        there: The older one.
        here: The newer one.
        defaults: What settings were that the older one does not know yet; if None, that is a difference.

    Returns:
        The first five differences and how many more there are; empty if there is none.
    """
    old, new = _flat(defaults or {}) | _flat(there), _flat(here)
    keys = sorted(old.keys() | new.keys())
    differing = [key for key in keys if old.get(key) != new.get(key) and key not in _FREE]
    changes = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:5])
    return changes + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")


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

    def __init__(self, path: Path, select_by: str, read_only: bool):
        self._path, self._select_by = path, select_by
        if read_only and not path.is_dir():
            raise InputError(f"{path}: no checkpoints, expected a run directory of train.py")
        keep_best = ocp.checkpoint_managers.BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
        policy = ocp.checkpoint_managers.AnyPreservationPolicy([ocp.checkpoint_managers.LatestN(1), keep_best])
        options = ocp.CheckpointManagerOptions(
            preservation_policy=None if read_only else policy,
            best_fn=self._rank,
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = ocp.CheckpointManager(path, options=options, item_names=("state", "progress"))

    def _rank(self, metrics: dict[str, float]) -> tuple[float, int]:
        """Best score first; of equals, the earlier."""
        return (signed(self._select_by, metrics[self._select_by]), -int(metrics["step"]))

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
            raise InputError(
                f"{self._path / str(step)}: cannot restore this checkpoint: {_first_line(error)}"
            ) from error
        return Restored(step, restored["state"], restored["progress"])

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


def signed(metric: str, value: float) -> float:
    """Returns a score of which more is better: an error's negative, anything else as it is."""
    return -value if metric in _ERRORS else value


def placed(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Returns the shapes of a tree's arrays with a sharding: what ``Checkpoints.restore`` is told to make."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat.items()}


def _write_json(file: Path, values: Any) -> None:
    with replacing(file) as opened:
        opened.write(json.dumps(values, indent=2) + "\n")
