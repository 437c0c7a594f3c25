"""IEMOCAP with the paper's recipe: DialogueTRM-U on bert-base-uncased.

    python train.py --config configs/iemocap.py --config.data.source=FOLDER_OF_IEMOCAP_PKL
    python eval.py --checkpoint runs/iemocap --split test

For a GPU or TPU; the encoder is downloaded from the Hugging Face hub once. The paper reports 68.1 weighted F1 and 68.2
accuracy on test (mean of 5 runs, its own unpublished validation split); this config has not been trained to the end
here, where there is no accelerator.
"""

from dtrm_jax.config import Config


def get_config() -> Config:
    """The paper's settings (section 5.2) are the defaults of ``dtrm_jax.config``."""
    config = Config(name="iemocap")
    config.data.name = "iemocap"
    # A pack holds whole conversations, here of up to 11,000 tokens: recomputing activations spares their memory.
    config.model.remat = True
    return config
