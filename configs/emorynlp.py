"""EmoryNLP on a CPU: DialogueTRM-U on MiniLM (22.7M parameters), with the settings of ``meld_minilm``.

    make minilm
    python train.py --config configs/emorynlp.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/emorynlp --split test

The folder holds the three json files of emorynlp/emotion-detection, or the three csv files of declare-lab.
``--config.data.labels=sentiment`` takes three classes, positive, negative and neutral, in place of seven emotions.

The corpus was not at hand: its reader is tested on fabricated files, and nothing has been trained here.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """The corpus alone differs from ``meld_minilm``: both are scenes of the same series."""
    config = config_files.load("meld_minilm")
    config.name = "emorynlp"
    config.data.name = "emorynlp"
    return config
