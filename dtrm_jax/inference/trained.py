"""A trained model, as it is read from wherever it lies."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.inference.programs import parameter_shapes
from dtrm_jax.models import architecture, build_model
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.tasks import Task, task_of

Source = RunDirectory | str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """Everything that predicting needs; neither the corpus nor the optimizer's state.

    Attributes:
        name: Of the experiment, for people.
        config: It was trained with.
        manifest: What it was built from: emotions, encoder, shape of the packs.
        tokenizer: Of the encoder; None if the model reads no text.
        normalization: Statistics of the features that it takes.
        params: The parameters, on the first local device.
        step: The training steps that they have seen.
    """

    name: str
    config: Config
    manifest: Manifest
    tokenizer: EncoderTokenizer | None
    normalization: Normalization
    params: Any
    step: int

    @property
    def task(self) -> Task:
        """What is predicted."""
        return task_of(self.manifest.labels, self.config.data.neutral)

    @property
    def is_causal(self) -> bool:
        """Whether no turn sees a later one."""
        return architecture(self.config).is_causal(self.config)

    def model(self, shape: PackShape) -> Model:
        """Builds the model for packs of ``shape``."""
        return build_model(self.config, self.manifest.encoder, len(self.manifest.labels), shape)


def read_trained(source: Source, *, checkpoint: str = "best") -> Trained:
    """Reads a trained model.

    Args:
        source: A run directory, or its path, wherever it lies now.
        checkpoint: "best" (by the dev metric), "latest" or a step.

    Raises:
        InputError: There is no trained model, a file of it is damaged, or it has no such checkpoint.
    """
    run = source if isinstance(source, RunDirectory) else RunDirectory(Path(source).expanduser())
    return _read_run(run, checkpoint)


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

    checkpoints = run.checkpoints(config.train.select_by, read_only=True)
    try:
        step = checkpoints.resolve(checkpoint)
        like = placed(parameter_shapes(model), jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
        return step, checkpoints.restore(step, {"params": like}).state["params"]
    finally:
        checkpoints.close()
