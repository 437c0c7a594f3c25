"""MELD on a CPU: DialogueTRM-U on MiniLM."""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The 22M-parameter encoder, with learning rates for training in minutes."""
    config = Config(name="meld_minilm")
    config.data.name = "meld"
    config.tokens.max_length = 96
    config.packing.tokens = 2048
    config.packing.row_lengths = (64, 96)
    config.model.encoder.pretrained = "minilm"
    config.model.encoder.pooling = "mean"
    config.model.dropout = 0.2
    config.model.intra_modal.layers = 2
    config.model.intra_modal.dropout = 0.2
    config.model.intra_modal.turn_distance = "learned"
    config.optimizer.encoder_learning_rate = 1.2e-4
    config.optimizer.learning_rate = 3e-4
    config.optimizer.warmup_steps = 60
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 3
    config.train.label_smoothing = 0.1
    return config
