"""The most on IEMOCAP's dev split of all that was tried: DialogueTRM-M at the paper's size, from text and voice.

    python train.py --config configs/iemocap_best.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/iemocap_best --split test

The folder has the transcripts and a file of acoustic features. Three seeds have 67.6 ± 2.8 weighted F1 on dev, and text
alone 60.1 to 63.2; MiniLM with voice has 67.1 ± 1.7, as good within chance (results/README.md). 43 to 46 minutes on two
busy cores of a Xeon with AMX. Test: 68.9 ± 0.8 weighted F1, 68.8 ± 0.7 accuracy; text alone 66.6 ± 0.5.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """``iemocap_mpnet`` with voice."""
    config = config_files.load("iemocap_mpnet")
    config.name = "iemocap_best"
    config.model.modalities = "ua"
    return config
