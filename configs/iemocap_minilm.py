"""IEMOCAP on a CPU: DialogueTRM-U on MiniLM (22.7M parameters).

    make minilm
    python train.py --config configs/iemocap_minilm.py --config.data.source=FOLDER_OF_IEMOCAP_PKL
    python eval.py --checkpoint runs/iemocap_minilm --split test

``--config.model.modalities=uav`` is DialogueTRM-M, with a feature file in the same folder.

25 minutes on one core of a shared Xeon. Test, one seed: 64.2 weighted F1, 64.1 accuracy (dev 62.7). With products in
bfloat16, 12 minutes; test, five seeds: 63.7 ± 1.7 weighted F1, 63.8 ± 1.7 accuracy (dev 59.3 to 64.8).
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """Learning rates and lengths for a small encoder on long conversations."""
    config = Config(name="iemocap_minilm")
    config.data.name = "iemocap"
    config.tokens.max_length = 96  # half the work; older turns still act through the intra-modal Transformer
    config.packing.tokens = 8192
    config.packing.utterances = 100  # what packs hold with context; a table's rows without it take no more
    config.packing.row_lengths = (64, 96)
    config.model.encoder.pretrained = "minilm"
    config.model.encoder.pooling = "mean"  # as that encoder was trained; nothing has trained its [CLS]
    config.model.dropout = 0.2
    config.model.intra_modal.layers = 2
    config.model.intra_modal.dropout = 0.2
    config.model.intra_modal.turn_distance = "learned"
    config.optimizer.encoder_learning_rate = 1.2e-4
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 40
    config.optimizer.gradient_clip = 1.0
    config.train.epochs = 4
    config.train.label_smoothing = 0.1
    return config
