"""MELD on a CPU at the paper's size: DialogueTRM-U on MPNet (all-mpnet-base-v2, 109.5M parameters).

    python train.py --config configs/meld_mpnet.py
    python eval.py --checkpoint runs/meld_mpnet --split test

The encoder is read from the hub's cache, or ``--config.model.encoder.pretrained=FOLDER``. About half an hour on two
cores of a Xeon with AMX, which do products in bfloat16 five times as fast as in float32, and up to 16 GB of memory.
Test, one seed: 64.5 weighted F1, 65.2 accuracy (dev 62.6).
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """MiniLM's settings with a lower learning rate for an encoder of BERT-base's size."""
    config = Config(name="meld_mpnet")
    config.data.name = "meld"
    config.tokens.window = 7
    config.packing.tokens = 2048
    config.packing.utterances = 97
    config.packing.row_lengths = (96, 192)
    config.model.encoder.pretrained = "sentence-transformers/all-mpnet-base-v2"
    config.model.encoder.pooling = "mean"  # as that encoder was trained; nothing has trained its first token
    config.model.encoder.products = "bfloat16"
    config.model.intra_modal.layers = 2
    config.model.intra_modal.turn_distance = "learned"
    config.optimizer.encoder_learning_rate = 4e-5
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 40
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 3
    config.train.label_smoothing = 0.1
    config.train.class_balance = 0.25
    return config
