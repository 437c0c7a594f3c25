"""The demo's generated conversations, as many as it takes to tell models apart: what the tables are made with.

    python train.py --config configs/planted.py
    python eval.py --checkpoint runs/planted --split test

Two minutes on one core, offline. Test: 75.8 accuracy of DialogueTRM-M; 78.1 is the best possible.

    python -m dtrm_jax.experiments planted --config configs/planted.py --seeds 3

prints what each modality is worth, beside the optimum; ``table4`` and ``table5`` instead of ``planted`` every context
setting and every fusion.
"""

from configs import demo
from dtrm_jax.config import Config


def get_config() -> Config:
    """The demo's model, with more data; small packs, as steps are what it needs."""
    config = demo.get_config()
    config.name = "planted"
    planted = config.data.planted
    planted.train, planted.dev, planted.test = 2000, 500, 500
    config.packing.tokens = 1024
    config.packing.utterances = 60  # what packs hold with context; a table's rows without it take no more
    config.train.epochs = 4
    return config
