"""IEMOCAP with the paper's recipe: DialogueTRM-U on bert-base-uncased.

    python train.py --config configs/iemocap.py --config.data.source=FOLDER
    python eval.py --checkpoint runs/iemocap --split test

The folder holds ``iemocap.pkl`` (conv-emotion's COSMIC), or a feature file of IEMOCAP, or both.
``--config.model.modalities=uav`` is DialogueTRM-M, as soon as there are features.

Sessions 1 to 4 are for training, 10 % of their conversations drawn at random for validation, session 5 is the test
split: the paper's protocol. ``--config.data.validation=given`` takes the published 108, 12 and 31 instead.

Studies of speech learn four classes: ``--config.data.labels=four``, with excited counted as happy, or
``four_without_excited``. Turns of other emotions stay as context. ``--config.data.test_session=1`` to ``5`` leaves that
session out as the test split and draws dev from the four others; their mean is the score of five such runs.

The batch is one conversation and the warm-up 1,200 steps, as ``configs/meld.py`` explains. Sixty epochs of 108
conversations are 6,480 steps: the warm-up is a fifth of them, and the decay the rest.

For a GPU or TPU; the encoder is downloaded from the Hugging Face hub once. The paper reports 68.1 weighted F1 and 68.2
accuracy on test for -U, 69.7 and 69.5 for -M (mean of 5 runs); this config has not been trained to the end here, where
there is no accelerator.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="iemocap")
    config.data.name = "iemocap"
    config.data.validation = "random"  # 10 % of the training conversations (section 5.1)
    # A pack holds whole conversations, here of up to 11,000 tokens: recomputing activations spares their memory.
    config.model.remat = True
    config.packing.conversations = 1
    config.packing.utterances = 110  # packs of the size of the largest conversation
    config.train.epochs = 60
    return config
