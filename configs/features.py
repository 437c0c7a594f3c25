"""Grids on frozen utterance vectors, voice and face: a small DialogueTRM that reads no text, a minute or so a run.

    python train.py --config configs/features.py --config.data.source=FOLDER
    python -m dtrm_jax.experiments table4 --config configs/features.py --config.data.source=FOLDER --seeds 3

``FOLDER`` holds tables with features (docs/own-data.md), the vectors of the utterances among them; ``dtrm-extract
text`` writes them from a trained encoder (docs/recordings.md). The modalities are those that the data has.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """Sizes and rates for a thousand to ten thousand turns."""
    config = Config(name="features")
    config.data.name = "table"
    config.packing.utterances = 96
    config.model.utterance = "features"
    config.model.encoder.hidden_size = 128  # the width of the whole model, as nothing encodes text
    config.model.dropout = 0.2
    intra_modal = config.model.intra_modal
    intra_modal.layers, intra_modal.heads, intra_modal.feed_forward, intra_modal.dropout = 2, 4, 256, 0.2
    intra_modal.turn_distance = "learned"
    fusion = config.model.fusion
    fusion.layers, fusion.heads, fusion.feed_forward, fusion.dropout = 2, 4, 256, 0.2
    config.optimizer.learning_rate = 5e-4
    config.optimizer.warmup_steps = 50
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 12
    config.train.save_every_steps = 0  # a run is shorter than what a checkpoint would save
    config.train.label_smoothing = 0.1
    return config
