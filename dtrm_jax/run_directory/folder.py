"""The folder of a run on disk.

    config.json        the resolved config
    run.json           the rest that the model is rebuilt from: label names, encoder sizes, the packs' shape and planner
    tokenizer.json     the tokenizer, in the format of Hugging Face tokenizers, if text is encoded
    normalization.npz  mean and standard deviation of every acoustic, visual or utterance feature in the training split,
                       and how many deviations from the mean a feature may lie
    provenance.json    what each start of the training ran on: command, code, versions, machine
    metrics.jsonl      one JSON object per line
    tensorboard/       the same as event files
    loggers.json       what other loggers call this run
    checkpoints/       Orbax: parameters, optimizer state, step, rng, and the position in the data
    pruned/            instead of it, after pruning: the best parameters alone
    eval/<split>/      results; those on other data are in eval/<split>@<name>/
    train.lock         held by the process that trains
    SHA256SUMS         of the first four files; older runs have none

The folder holds no absolute path that evaluation needs: it can be moved to another machine.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from dtrm_jax import checksums
from dtrm_jax import config as config_lib
from dtrm_jax.config import Config, different_settings
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json
from dtrm_jax.replacing import replacing
from dtrm_jax.run_directory.manifest import Manifest
from dtrm_jax.run_directory.places import check_links, check_place
from dtrm_jax.user_paths import expanded

if TYPE_CHECKING:
    from dtrm_jax.run_directory.checkpoints import Checkpoints

_CONFIG, _MANIFEST, _TOKENIZER, _NORMALIZATION = "config.json", "run.json", "tokenizer.json", "normalization.npz"
_FACTS = (_CONFIG, _MANIFEST, _TOKENIZER, _NORMALIZATION)
# All that is read or written here, but what loggers other than TensorBoard make.
_OWN = (
    *_FACTS,
    checksums.FILE,
    "provenance.json",
    "metrics.jsonl",
    "loggers.json",
    "train.lock",
    "tensorboard",
    "checkpoints",
    "pruned",
    "eval",
)


class RunDirectory:
    """A run's folder."""

    def __init__(self, path: str | os.PathLike):
        self.path = expanded(path).absolute()

    @property
    def name(self) -> str:
        """The name of the run for people: that of its folder."""
        return self.path.resolve().name

    @property
    def metrics_file(self) -> Path:
        """The JSON lines of training."""
        return self.path / "metrics.jsonl"

    @property
    def manifest_file(self) -> Path:
        """The file of the manifest."""
        return self.path / _MANIFEST

    @property
    def starts_file(self) -> Path:
        """The starts of the training and what they ran on (``run_directory.starts``)."""
        return self.path / "provenance.json"

    @property
    def tensorboard(self) -> Path:
        """The folder of event files."""
        return self.path / "tensorboard"

    @property
    def logged_as(self) -> Path:
        """The file of what loggers call this run: name of the logger -> name of the run."""
        return self.path / "loggers.json"

    def evaluation(self, name: str) -> Path:
        """The folder of an evaluation's results; ``name`` is the split, or ``<split>@<name>`` for other data."""
        return self.path / "eval" / name

    @property
    def all_checkpoints(self) -> Path:
        """The folder of the checkpoints that training writes."""
        return self.path / "checkpoints"

    @property
    def pruned(self) -> Path:
        """The folder of the best parameters alone. If it exists, it is what is read."""
        return self.path / "pruned"

    def is_pruned(self) -> bool:
        """Whether the best parameters alone are left."""
        return self.pruned.is_dir()

    def require_resumable(self) -> None:
        """Raises InputError if no training can keep its checkpoints here, or the run was pruned."""
        check_links(self.path, _OWN)
        check_place(self.all_checkpoints, written=True)
        if self.is_pruned():
            raise InputError(
                f"{self.path}: this run was pruned to its best parameters and cannot be resumed; "
                f"--config.train.init_from={self.path} begins another run with them"
            )

    def exists(self) -> bool:
        """Whether a run was begun here; its config is there then, unless the folder was damaged."""
        return any((self.path / name).exists() for name in (_CONFIG, checksums.FILE, "checkpoints"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training here; the lock goes with the process, however that ends.

        Raises:
            InputError: Another process trains here.
        """
        check_links(self.path, _OWN)
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            held = filelock.FileLock(self.path / "train.lock").acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(f"{self.path}: another process is training this run") from None
        with held:
            yield

    def begin(
        self, config: Config, manifest: Manifest, tokenizer: EncoderTokenizer | None, normalization: Normalization
    ) -> None:
        """Creates the folder, or checks that the run begun here is the same.

        Settings that may differ, such as where the data lies now, are kept as they are now. A manifest with one more
        extension than the run has makes the run longer.

        Raises:
            InputError: Another config or other data was trained here, or its packs were planned in another way; names
                what differs. Or a file is damaged.
        """
        if self.exists():
            # What training takes from elsewhere, and evaluation from here.
            self.read_normalization()
            kept = None if tokenizer is None else self.read_tokenizer()
            begun, before = self._as_of_now(config, manifest)
            self._check_same(_CONFIG, config_lib.to_dict(begun), config_lib.to_dict(config))
            self._check_planner(before.planner, manifest.planner)
            there, here = (one.to_dict() | {"notes": ()} for one in (before, manifest))
            self._check_same(_MANIFEST, there, here)  # notes name files, which may lie elsewhere now
            # An encoder's files may have changed meanwhile.
            if kept is not None and kept.tokenizer.to_str() != tokenizer.tokenizer.to_str():
                raise InputError(
                    f"{self.path / _TOKENIZER}: the run begun here has another tokenizer than its encoder has now "
                    f"({tokenizer.origin}); bring that one back, or use another --workdir"
                )
            self._write_facts(config, manifest)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        if tokenizer is not None:
            tokenizer.save(self.path / _TOKENIZER)
        normalization.save(self.path / _NORMALIZATION)
        self._write_facts(config, manifest)

    def _write_facts(self, config: Config, manifest: Manifest) -> None:
        """Writes config and manifest, if they have changed, and the sums.

        The config comes last: its presence says that the folder is complete, and a run that is being made longer is
        until then one of its old length. There are no sums in between, so that whatever interrupts it leaves none that
        do not fit.
        """
        texts = {_MANIFEST: _json_text(manifest.to_dict()), _CONFIG: _json_text(config_lib.to_dict(config))}
        changed = {name: text for name, text in texts.items() if not _holds(self.path / name, text)}
        if changed or not (self.path / checksums.FILE).exists():
            (self.path / checksums.FILE).unlink(missing_ok=True)
            for name, text in changed.items():
                with replacing(self.path / name) as file:
                    file.write(text)
            checksums.write(self.path, [name for name in _FACTS if (self.path / name).exists()])

    def read_config(self) -> Config:
        """Returns the config of the run.

        Raises:
            InputError: The file is missing or not a config.
        """
        check_links(self.path, _OWN)
        values = self._read_json(_CONFIG)
        try:
            return config_lib.validate(config_lib.from_dict(values))
        except InputError as error:
            raise InputError(f"{self.path / _CONFIG}: {error}") from error

    def read_manifest(self) -> Manifest:
        """Returns the manifest of the run; raises InputError if it is missing or damaged."""
        values = self._read_json(_MANIFEST)
        try:
            return Manifest.from_dict(values)
        except Exception as error:  # whatever JSON there is in its place
            raise InputError(f"{self.path / _MANIFEST}: not the manifest of a run: {error!r}") from error

    def read_normalization(self) -> Normalization:
        """Returns the features' statistics; raises InputError if they are missing or damaged."""
        self._check(_NORMALIZATION)
        return Normalization.load(self.path / _NORMALIZATION)

    def read_tokenizer(self) -> EncoderTokenizer:
        """Returns the tokenizer of a run that encodes text; raises InputError if it is missing or damaged."""
        encoder = self.read_manifest().encoder
        if encoder is None:
            raise InputError(f"{self.path / _MANIFEST}: expected an encoder, found none")
        self._check(_TOKENIZER)
        return EncoderTokenizer.load(self.path / _TOKENIZER, encoder.special)

    def checkpoints(self, select_by: str, *, read_only: bool = False) -> "Checkpoints":
        """Opens the checkpoints; ``select_by`` is the dev metric that ranks them (``config.train.ranked_by``).

        Raises:
            InputError: There are none to read, or they are to be written in a run that was pruned.
        """
        from dtrm_jax.run_directory.checkpoints import Checkpoints  # and with it Orbax

        if not read_only:
            self.require_resumable()
        folder = self.pruned if self.is_pruned() else self.all_checkpoints
        return Checkpoints(folder, select_by, read_only, only_best=self.is_pruned())

    def _read_json(self, name: str) -> Any:
        self._check(name)
        return read_json(self.path / name, "a run directory of a training")

    def _check(self, name: str) -> None:
        """Checks that a file is the one that training wrote."""
        if problem := checksums.problem(self.path, [name]):
            raise InputError(f"{problem}; if you changed it on purpose, delete {self.path / checksums.FILE}")

    def _check_planner(self, there: int, here: int) -> None:
        if there != here:
            raise InputError(
                f"{self.path / _MANIFEST}: expected a run whose packs were planned by version {here} of the planner, "
                f"found version {there}, with which other packs would follow; train on with the version of dtrm_jax "
                "that began it, or use another --workdir (evaluation works as it is)"
            )

    def _as_of_now(self, config: Config, manifest: Manifest) -> tuple[Config, Manifest]:
        """Returns config and manifest as the run was begun, apart from what may have changed since.

        That is the folder that another run's parameters lay in, which the manifest tells by their content, the length,
        if the newer manifest has an extension that the run does not have yet, and the bound of features that there are
        none of, which runs of older versions do not have.
        """
        begun, before = self.read_config(), self.read_manifest()
        train, data = begun.train, begun.data
        if not config.model.feature_modalities:
            data = dataclasses.replace(data, feature_bound=config.data.feature_bound)
        if config.train.init_from and train.init_from:
            train = dataclasses.replace(train, init_from=config.train.init_from)
        if manifest.extensions:
            longer = manifest.extensions[-1]
            if before.extensions == manifest.extensions[:-1]:
                before = dataclasses.replace(before, extensions=manifest.extensions, total_steps=longer.steps)
            if train.epochs == longer.epochs_before:
                train = dataclasses.replace(train, epochs=longer.epochs)
        return dataclasses.replace(begun, train=train, data=data), before

    def _check_same(self, name: str, there: dict[str, Any], here: dict[str, Any]) -> None:
        if changes := different_settings(there, here):
            raise InputError(
                f"{self.path / name}: the run begun here differs: {changes}; use another --workdir, "
                "or repeat the settings it was begun with"
            )


def _json_text(values: Any) -> str:
    return json.dumps(values, indent=2) + "\n"


def _holds(file: Path, text: str) -> bool:
    return file.exists() and file.read_bytes() == text.encode()
