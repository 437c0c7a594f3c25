"""MELD with the paper's recipe: DialogueTRM-U on bert-base-uncased.

    python train.py --config configs/meld.py
    python eval.py --checkpoint runs/meld --split test

With the folder of the csv files and a feature file as ``--config.data.source``, ``--config.model.modalities=ua`` is
DialogueTRM-M (the paper uses no visual features on MELD).

``--config.data.labels=sentiment`` takes three classes, positive, negative and neutral, in place of seven emotions. A
folder with the csv files of the dyadic variant (``train_sent_emo_dya.csv`` and so on) is read as well.

What the paper says of training is taken from it: AdamW at 6e-6 with weight decay 0.01, 1,200 steps of warm-up, linear
decay, K = 14. It leaves open the batch, the number of epochs, dropout, and how a checkpoint is chosen. Its card of
11 GB held "a maximum context window of 14", a conversation or so, which is the batch here. Ten epochs of 1,038
conversations are 10,380 steps: the warm-up is an eighth of them, and the decay the rest. A trial of fewer steps
(``--config.train.epochs=1``) has no room for the warm-up, and training says what it takes instead. Packs have one size
and hold one conversation each, so that an epoch takes ten times as long as with ``--config.packing.conversations=0``,
which has a tenth of the steps.

For a GPU or TPU; the encoder is downloaded from the Hugging Face hub once. The paper reports 63.2 weighted F1 and 64.6
accuracy on test for -U, 63.5 and 65.7 for -M (mean of 5 runs); this config has not been trained to the end here, where
there is no accelerator.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="meld")
    config.data.name = "meld"
    config.packing.conversations = 1
    config.packing.utterances = 24  # packs of the size of the largest conversation
    config.train.epochs = 10
    return config
