"""DailyDialog on a CPU: DialogueTRM-U on MiniLM (22.7M parameters), with the settings of ``meld_minilm``.

    make minilm
    python train.py --config configs/dailydialog.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/dailydialog --split test

The folder holds ``train``, ``validation`` and ``test``, each with its texts and emotions as the authors publish them.
83 % of the turns have no emotion, which is called neutral here. The field's score is micro F1 without that class; it
selects the checkpoint.

The corpus was not at hand: its reader is tested on fabricated files, and nothing has been trained here.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """The corpus and its score alone differ from ``meld_minilm``."""
    config = config_files.load("meld_minilm")
    config.name = "dailydialog"
    config.data.name = "dailydialog"
    config.data.neutral = "neutral"
    config.train.select_by = "micro_f1"
    return config
