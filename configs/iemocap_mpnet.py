"""IEMOCAP on a CPU at the paper's size: DialogueTRM-U on MPNet (all-mpnet-base-v2, 109.5M parameters).

    python train.py --config configs/iemocap_mpnet.py --config.data.source=FOLDER_OF_IEMOCAP_PKL
    python eval.py --checkpoint runs/iemocap_mpnet --split test

The encoder is read from the hub's cache, or ``--config.model.encoder.pretrained=FOLDER``. 34 to 38 minutes on two busy
cores of a Xeon with AMX, in 10 to 12 GB of memory, for moments up to 19.5 (docs/speed.md).
Test, five seeds: 66.6 ± 0.5 weighted F1, 66.7 ± 0.7 accuracy (dev 60.1 to 63.2).
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """The settings of ``iemocap_minilm`` with a lower learning rate for an encoder of BERT-base's size."""
    config = config_files.load("iemocap_minilm")
    config.name = "iemocap_mpnet"
    config.model.encoder.pretrained = "sentence-transformers/all-mpnet-base-v2"
    config.model.encoder.products = "bfloat16"
    config.optimizer.encoder_learning_rate = 5e-5
    return config
