"""Generated conversations whose best possible accuracy is known: DialogueTRM-M with a small encoder from scratch.

    python train.py --config configs/demo.py
    python eval.py --checkpoint runs/demo --split test

A minute or two on two cores, offline.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """Small enough for a laptop, offline."""
    config = Config(name="demo")
    config.data.name = "planted"
    planted = config.data.planted
    planted.train, planted.dev, planted.test = 600, 100, 200
    config.model.modalities = "uav"
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
    config.model.intra_modal.turn_distance = "learned"
    config.model.fusion.feed_forward = 128
    config.optimizer.encoder_learning_rate = 1e-3
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 10
    config.train.select_by = "accuracy"
    return config
