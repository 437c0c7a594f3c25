"""MELD on a CPU at the paper's size: DialogueTRM-U on MPNet (all-mpnet-base-v2, 109.5M parameters).

    python train.py --config configs/meld_mpnet.py
    python eval.py --checkpoint runs/meld_mpnet --split test

The encoder is read from the hub's cache, or ``--config.model.encoder.pretrained=FOLDER``. 41 to 53 minutes on two busy
cores of a Xeon with AMX, which do products in bfloat16 five times as fast as in float32, and up to 16 GB of memory.
Test, five seeds: 64.2 ± 0.3 weighted F1 (dev 61.5 to 64.1).
``meld_best`` adds the voice.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """The settings of ``meld_minilm`` with a lower learning rate for an encoder of BERT-base's size."""
    config = config_files.load("meld_minilm")
    config.name = "meld_mpnet"
    config.model.encoder.pretrained = "sentence-transformers/all-mpnet-base-v2"
    config.model.encoder.products = "bfloat16"
    config.optimizer.encoder_learning_rate = 4e-5
    config.train.epochs = 3
    return config
