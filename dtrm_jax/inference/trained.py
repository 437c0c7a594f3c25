"""A trained model, wherever it was read from."""

import dataclasses
from typing import Any

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.models import architecture, build_model
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import Manifest
from dtrm_jax.tasks import Task, task_of


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
