"""A model as training begins it: predicting with it takes the time that a trained one takes."""

from dtrm_jax.config import Config
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.inference.trained import Trained
from dtrm_jax.training import setup


def untrained(config: Config) -> Predictor:
    """Returns a predictor with the parameters that training would begin with.

    Raises:
        InputError: What ``setup.prepare`` raises.
    """
    experiment = setup.prepare(config)
    return Predictor(
        Trained(
            name=config.name,
            config=experiment.config,
            manifest=experiment.manifest,
            tokenizer=experiment.tokenizer,
            normalization=experiment.normalization,
            params=setup.initial_params(experiment),
            step=0,
        )
    )
