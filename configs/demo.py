"""Generated conversations and a small encoder from scratch."""

from dtrm_jax.config import Config


def get_config() -> Config:
    """Small enough for a laptop, offline."""
    config = Config(name="demo")
    config.data.name = "planted"
    config.tokens.max_length = 128
    config.tokens.window = 5
    config.packing.tokens = 2048
    config.packing.row_lengths = (64,)
    encoder = config.model.encoder
    encoder.pretrained = ""
    encoder.hidden_size, encoder.layers, encoder.heads, encoder.intermediate_size = 64, 2, 4, 128
    config.model.intra_modal.layers = 2
    config.model.intra_modal.heads = 4
    config.model.intra_modal.feed_forward = 128
    config.optimizer.encoder_learning_rate = 2e-3
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 20
    config.train.epochs = 10
    return config
