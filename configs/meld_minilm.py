"""MELD on a CPU: DialogueTRM-U on MiniLM."""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The 22M-parameter encoder, with learning rates for training in minutes."""
    config = Config(name="meld_minilm")
    config.data.name = "meld"
    config.packing.tokens = 4096
    config.packing.row_lengths = (96, 192)
    config.model.encoder.pretrained = "minilm"
    config.model.intra_modal.layers = 2
    config.optimizer.encoder_learning_rate = 8e-5
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup_steps = 40
    config.train.epochs = 4
    return config
