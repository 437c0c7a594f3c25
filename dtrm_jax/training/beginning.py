"""Beginning with another run: ``config.train.init_from``.

Tokenizer and sizes of the text encoder come from that run; features are standardised by the new data. What is taken of
its parameters is said in ``transfer``.

A run that has begun needs the other one no more, once it has a checkpoint: it goes on from its own, with the encoder
and the tokenizer that it has kept.
"""

import dataclasses
import hashlib

import flax.traverse_util
import numpy as np

from dtrm_jax.config import Config, different_settings
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.errors import InputError
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.run_directory import Origin, RunDirectory
from dtrm_jax.user_paths import expanded

_LETTERS = 16  # of a SHA-256 in hexadecimal
# What a config says about its encoder's weights, sizes and embeddings.
_OF_ENCODER = ("pretrained", "hidden_size", "layers", "heads", "intermediate_size", "segment_embedding")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a training takes over from another run, or has taken over when it was begun.

    Attributes:
        origin: The facts about that run.
        config: Whose encoder settings hold: that run's, or this run's when it was begun.
        encoder: Its sizes; None if its model reads no text.
        tokenizer: Of the encoder.
        source: That run. If None, this run was begun before, and it is read only if it must be.
    """

    origin: Origin
    config: Config
    encoder: Encoder | None
    tokenizer: EncoderTokenizer | None
    source: Trained | None

    def adopted(self, config: Config) -> Config:
        """Returns the config with the encoder settings that hold."""
        if not (self.origin.encoder and config.model.reads_text):
            return config
        settings = {name: getattr(self.config.model.encoder, name) for name in _OF_ENCODER}
        encoder = dataclasses.replace(config.model.encoder, **settings)
        return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder))

    def read(self, init_from: str) -> Trained:
        """Returns the other run.

        Raises:
            InputError: It is read a second time, and is not there or has changed.
        """
        if self.source is not None:
            return self.source
        source = read_trained(init_from)
        if (found := origin_of(source)) != self.origin:
            raise InputError(
                f"config.train.init_from: expected the parameters {self.origin.params} of step {self.origin.step}, "
                f"with which this run was begun, found {found.params} of step {found.step}; use another --workdir"
            )
        return source


def beginning(config: Config, run: RunDirectory | None) -> Beginning | None:
    """Returns what a training takes over; None if it begins by itself.

    Args:
        config: Of the training.
        run: Its run directory. If it was begun there, the other run need not be there any more.

    Raises:
        InputError: There is no such run, or it has no checkpoint; or the config reads text, and the run that was begun
            does not.
    """
    if not config.train.init_from:
        return None
    if run is not None and run.exists():
        return _begun(config, run)
    source = read_trained(config.train.init_from)
    return Beginning(
        origin=origin_of(source),
        config=source.config,
        encoder=source.manifest.encoder,
        tokenizer=source.tokenizer,
        source=source,
    )


def _begun(config: Config, run: RunDirectory) -> Beginning | None:
    """Returns what the run has kept; of another folder than it was begun with, the origin is that of this one."""
    begun, manifest = run.read_config(), run.read_manifest()
    origin = manifest.init_from
    if origin is None:
        return None
    if config.model.reads_text and manifest.encoder is None:
        there, here = (
            {"model": {"modalities": one.model.modalities, "utterance": one.model.utterance}} for one in (begun, config)
        )
        raise InputError(
            f"{run.manifest_file}: the run begun here reads no text: {different_settings(there, here)}; use "
            "another --workdir, or repeat the settings it was begun with"
        )
    there = expanded(config.train.init_from)
    if config.train.init_from != begun.train.init_from and there.exists():
        origin = origin_of(read_trained(there))
    return Beginning(
        origin=origin,
        config=begun,
        encoder=manifest.encoder,
        tokenizer=run.read_tokenizer() if begun.model.reads_text else None,
        source=None,
    )


def origin_of(source: Trained) -> Origin:
    """Returns the facts about a run that another one begins with."""
    digest = hashlib.sha256()
    for path, array in sorted(flax.traverse_util.flatten_dict(source.params).items()):
        digest.update(f"{path} {array.dtype} {array.shape}".encode())
        digest.update(np.asarray(array).tobytes())
    return Origin(
        name=source.name,
        corpus=source.manifest.corpus,
        step=source.step,
        data=source.manifest.data,
        params=digest.hexdigest()[:_LETTERS],
        encoder=source.manifest.encoder is not None,
    )
