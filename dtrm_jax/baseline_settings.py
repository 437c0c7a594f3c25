"""Settings of the models that DialogueTRM is compared with: one section per model, a part of ``config.ModelConfig``.

The defaults are those of the models' authors for IEMOCAP. What they are for other corpora says each model's
``published``.
"""

import dataclasses

from dtrm_jax.settings import setting

_WIDTH = {"low": 1, "high": 2**16}
_SHARE = {"low": 0, "below": 1}
_TURNS = {"low": 1, "high": 10**4}


@dataclasses.dataclass(kw_only=True)
class CLSTMConfig:
    """c-LSTM and bc-LSTM (``model.architecture=c_lstm``)."""

    # Whether a second LSTM begins with the last turn (bc-LSTM, which the paper's rows are). Then it is not causal.
    bidirectional: bool = True
    layers: int = setting(2, low=1, high=100)  # layers of the LSTM above the joined modalities
    width: int = setting(100, **_WIDTH)  # width of the LSTM's state, in each direction
    hidden: int = setting(100, **_WIDTH)  # width of the layer before the outputs
    # Whether each modality first has an LSTM of its own, of one layer and the same width (hierarchical fusion).
    hierarchical: bool = False
    # Attention over all turns of the conversation above the LSTM: none | general2 (matching attention). With it, the
    # model is not causal.
    attention: str = setting("none", choices=("none", "general2"))
    # How many turns the attention reaches in both directions; IEMOCAP's longest conversation has 110.
    attention_window: int = setting(128, **_TURNS)
    dropout: float = setting(0.25, **_SHARE)  # dropout between the layers of the LSTM and before the outputs
