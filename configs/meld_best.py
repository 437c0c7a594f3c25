"""The most on MELD's dev split of all that was tried: DialogueTRM-M at the paper's size, from text and voice.

    python train.py --config configs/meld_best.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/meld_best --split test

The folder has the csv files and a file of acoustic features. Three seeds have 63.2 ± 0.7 weighted F1 on dev, and text
alone 62.7 ± 1.2 (five seeds), as good within chance (results/README.md). 25 to 33 minutes on two cores of a Xeon with
AMX. Test: 64.2 ± 0.2 weighted F1, 64.9 ± 0.3 accuracy; text alone 64.2 ± 0.3: use ``meld_mpnet`` if you have no voice.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """``meld_mpnet`` with voice."""
    config = config_files.load("meld_mpnet")
    config.name = "meld_best"
    config.model.modalities = "ua"
    return config
