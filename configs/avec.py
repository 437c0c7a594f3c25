"""AVEC (SEMAINE) with the paper's recipe: DialogueTRM-M on bert-base-uncased, four real-valued emotions.

    python train.py --config configs/avec.py --config.data.source=FOLDER_OF_AVEC_FEATURES
    python eval.py --checkpoint runs/avec --split test

The folder holds ``AVEC_features_1.pkl`` to ``AVEC_features_4.pkl`` (conv-emotion), or some of them; all emotions are
learned jointly, or those of ``--config.data.targets=valence``. ``--config.model.modalities=u`` is DialogueTRM-U, and
``--config.model.utterance=features`` takes the files' utterance vectors in place of BERT: seconds on a laptop.

The batch is one conversation and the warm-up 1,200 steps, as ``configs/meld.py`` explains. A hundred epochs of 57
conversations, which is what 63 are without a random tenth, are 5,700 steps: the warm-up is a fifth of them.

For a GPU or TPU. The paper reports Pearson's r of 0.76 (valence), 0.52 (arousal), 0.40 (expectancy) and 0.40 (power) on
test; the files are not public enough to have been trained on here.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="avec")
    config.data.name = "avec"
    config.data.validation = "random"  # 10 % of the training conversations (section 5.1)
    config.model.modalities = "uav"
    config.model.remat = True
    config.packing.conversations = 1
    config.packing.utterances = 110  # packs of the size of the largest conversation, or nearly
    config.train.epochs = 100
    config.train.select_by = "pearson_r"
    return config
