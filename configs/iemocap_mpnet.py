"""IEMOCAP on a CPU at the paper's size: DialogueTRM-U on MPNet (all-mpnet-base-v2, 109.5M parameters).

    python train.py --config configs/iemocap_mpnet.py --config.data.source=FOLDER_OF_IEMOCAP_PKL
    python eval.py --checkpoint runs/iemocap_mpnet --split test

The encoder is read from the hub's cache, or ``--config.model.encoder.pretrained=FOLDER``. Forty minutes on two busy
cores of a Xeon with AMX. It took 22 GB of memory, and 9 GB with another setting of the allocator (docs/speed.md).
Test, one seed: 66.1 weighted F1, 66.1 accuracy (dev 60.2).
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """MiniLM's settings with a lower learning rate for an encoder of BERT-base's size."""
    config = Config(name="iemocap_mpnet")
    config.data.name = "iemocap"
    config.tokens.max_length = 96
    config.packing.tokens = 8192
    config.packing.utterances = 100
    config.packing.row_lengths = (64, 96)
    config.model.encoder.pretrained = "sentence-transformers/all-mpnet-base-v2"
    config.model.encoder.pooling = "mean"  # as that encoder was trained; nothing has trained its first token
    config.model.encoder.products = "bfloat16"
    config.model.dropout = 0.2
    config.model.intra_modal.dropout = 0.2
    config.model.intra_modal.layers = 2
    config.model.intra_modal.turn_distance = "learned"
    config.optimizer.encoder_learning_rate = 5e-5
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 40
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 4
    config.train.label_smoothing = 0.1
    return config
