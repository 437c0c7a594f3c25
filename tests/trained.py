"""Trained models without training: random parameters, in memory and as a run directory."""

from pathlib import Path

import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.features import Normalization
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models import build_model
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.training.setup import prepare
from tests.factories import LABELS, make_tokenizer, random_params, tiny_config, tiny_encoder

SIZES = {"utterance": 7, "acoustic": 5, "visual": 3}


def multimodal(modalities: str = "uav", **settings) -> Config:
    """Returns a config whose parts are small: K is 3, and there are 2 layers of every kind."""
    tiny = {
        "model__fusion__layers": 2,
        "model__fusion__heads": 2,
        "model__fusion__feed_forward": 13,
        "model__encoder__hidden_size": 14,
        "model__context__visual": "dependent",
    }
    return tiny_config(model__modalities=modalities, **{**tiny, **settings})


def random_trained(
    config: Config,
    *,
    labels: LabelSpace | ValueSpace = LABELS,
    rows: tuple[tuple[int, int], ...] = ((16, 16), (32, 8)),
    utterances: int = 32,
    own_tokens: int = 0,
) -> Trained:
    """Returns a model of the config with random parameters and features of ``SIZES``."""
    names = config.model.feature_modalities
    random = np.random.default_rng(7)
    normalization = Normalization(
        {name: random.normal(3, 1, SIZES[name]).astype(np.float32) for name in names},
        {name: random.uniform(1, 2, SIZES[name]).astype(np.float32) for name in names},
        bound=config.data.feature_bound,
    )
    text = config.model.reads_text
    encoder = tiny_encoder(config) if text else None
    shape = PackShape(
        rows if text else (),
        utterances,
        values=len(labels) if isinstance(labels, ValueSpace) else 0,
        features=normalization.sizes,
        own_tokens=own_tokens,
    )
    return Trained(
        name="random",
        config=config,
        manifest=Manifest(corpus="random", labels=labels, encoder=encoder, shape=shape, total_steps=0),
        tokenizer=make_tokenizer() if text else None,
        normalization=normalization,
        params=random_params(build_model(config, encoder, len(labels), shape)),
        step=0,
    )


def random_run(config: Config, workdir: Path) -> RunDirectory:
    """Returns a run of the config's corpus, whose one checkpoint holds random parameters and no optimizer state."""
    experiment = prepare(config)
    run = RunDirectory(workdir)
    run.begin(experiment.config, experiment.manifest, experiment.tokenizer, experiment.normalization)
    checkpoints = run.checkpoints(experiment.config.train.select_by)
    params = random_params(experiment.model(experiment.manifest.shape))
    checkpoints.save(7, {"params": params}, {}, {experiment.config.train.select_by: 0.5})
    checkpoints.close()
    return run
