"""MELD with the paper's recipe: DialogueTRM-U on bert-base-uncased.

    python train.py --config configs/meld.py
    python eval.py --checkpoint runs/meld --split test

With the folder of the csv files and a feature file as ``--config.data.source``, ``--config.model.modalities=ua`` is
DialogueTRM-M (the paper uses no visual features on MELD).

``--config.data.labels=sentiment`` takes three classes, positive, negative and neutral, in place of seven emotions. A
folder with the csv files of the dyadic variant (``train_sent_emo_dya.csv`` and so on) is read as well.

For a GPU or TPU; the encoder is downloaded from the Hugging Face hub once. The paper reports 63.2 weighted F1 and 64.6
accuracy on test for -U, 63.5 and 65.7 for -M (mean of 5 runs); this config has not been trained to the end here, where
there is no accelerator.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="meld")
    config.data.name = "meld"
    return config
