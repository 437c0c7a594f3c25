"""The best of IEMOCAP that dev has shown: DialogueTRM-M at the paper's size, from text and voice.

    python train.py --config configs/iemocap_best.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/iemocap_best --split test

The folder has the transcripts and a file of acoustic features. On dev, voice is worth 4.9 points with MiniLM (three
seeds), and later turns, a higher rate and more epochs nothing (results/README.md). 46 minutes on two busy cores of a
Xeon with AMX. Test, one seed: 69.7 weighted F1, 69.4 accuracy (dev 64.7; text alone 66.6 ± 0.5, dev 60.1 to 63.2).
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """``iemocap_mpnet`` with voice."""
    config = config_files.load("iemocap_mpnet")
    config.name = "iemocap_best"
    config.model.modalities = "ua"
    return config
