"""IEMOCAP with the paper's recipe: DialogueTRM-U on bert-base-uncased."""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="iemocap")
    config.data.name = "iemocap"
    return config
