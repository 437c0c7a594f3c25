"""A trained model is read from wherever it lies: a run directory, an exported folder, or the Hugging Face hub."""

import os
from typing import Any

import jax

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.inference import exported
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models import build_model
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.user_paths import expanded

Source = RunDirectory | str | os.PathLike[str]


def read_trained(source: Source, *, checkpoint: str = "best") -> Trained:
    """Reads a trained model.

    Args:
        source: A run directory, or its path, wherever it lies now; a folder that was exported; or, where there is no
            such folder, ``owner/name`` on the Hugging Face hub, which is downloaded once into the hub's own cache.
        checkpoint: "best" (by the dev metric), "latest" or a step. What was exported has one checkpoint only, the best.

    Raises:
        InputError: There is no trained model, a file of it is damaged, or it has no such checkpoint.
    """
    if isinstance(source, RunDirectory):
        return _read_run(source, checkpoint)
    folder = expanded(source)
    if not folder.exists():
        folder = exported.download(os.fspath(source)) or folder
    if not exported.is_exported(folder):
        return _read_run(RunDirectory(folder), checkpoint)
    trained = exported.read(folder)
    if checkpoint not in ("best", str(trained.step)):
        raise InputError(f"{folder}: expected the checkpoint 'best', which alone was exported, found {checkpoint!r}")
    return trained


def _read_run(run: RunDirectory, checkpoint: str) -> Trained:
    config, manifest = run.read_config(), run.read_manifest()
    tokenizer = run.read_tokenizer() if config.model.reads_text else None
    model = build_model(config, manifest.encoder, len(manifest.labels), manifest.shape)
    step, params = _restore(run, config, model, checkpoint)
    return Trained(
        name=config.name,
        config=config,
        manifest=manifest,
        tokenizer=tokenizer,
        normalization=run.read_normalization(),
        params=params,
        step=step,
    )


def _restore(run: RunDirectory, config: Config, model: Model, checkpoint: str) -> tuple[int, Any]:
    """Returns the step and the parameters of a checkpoint."""
    from dtrm_jax.run_directory.checkpoints import placed  # Orbax, which exported models do without

    checkpoints = run.checkpoints(config.train.ranked_by, read_only=True)
    step = checkpoints.resolve(checkpoint)
    like = placed(parameter_shapes(model), jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
    return step, checkpoints.restore(step, {"params": like}).state["params"]
