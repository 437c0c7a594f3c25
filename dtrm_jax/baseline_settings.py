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


@dataclasses.dataclass(kw_only=True)
class DialogueRNNConfig:
    """DialogueRNN (``model.architecture=dialogue_rnn``)."""

    # Whether all states are computed from the last turn, too (BiDialogueRNN). Then it is not causal.
    bidirectional: bool = True
    # Attention to earlier global states: general (asked by the turn) | simple (the same for every turn).
    context: str = setting("general", choices=("general", "simple"))
    # How many global states it reaches back; IEMOCAP's longest conversation has 110.
    window: int = setting(128, **_TURNS)
    active_listener: bool = False  # whether the states of parties who listen change, too
    # States of parties. If a conversation has more speakers, those who are the last to speak up share one. MELD's
    # conversations have nine at most.
    parties: int = setting(9, low=1, high=1000)
    # Attention over the emotion states of the whole conversation: none | general2 (matching attention). With it, the
    # model is not causal.
    attention: str = setting("general2", choices=("none", "general2"))
    attention_window: int = setting(128, **_TURNS)  # how many turns that attention reaches in both directions
    global_width: int = setting(500, **_WIDTH)  # width of the global state
    party_width: int = setting(500, **_WIDTH)  # width of a party's state
    emotion_width: int = setting(300, **_WIDTH)  # width of the emotion state, in each direction
    hidden: int = setting(300, **_WIDTH)  # width of the layer before the outputs, for each direction
    activation: str = setting("relu", choices=("relu", "tanh"))  # of that layer
    recurrent_dropout: float = setting(0.1, **_SHARE)  # dropout of every new state
    state_dropout: float = setting(0.25, **_SHARE)  # dropout of the emotion states that are read
    dropout: float = setting(0.1, **_SHARE)  # dropout before the outputs


@dataclasses.dataclass(kw_only=True)
class MemoryNetworkConfig:
    """CMN and ICON (``model.architecture=cmn`` or ``icon``), each of which has a section of its own."""

    width: int = setting(100, **_WIDTH)  # width of queries, memories and GRUs
    window: int = setting(40, **_TURNS)  # K: how many turns of the past are remembered
    hops: int = setting(3, low=1, high=100)  # how often the memories are read, and encoded anew
    # What happens to conversations of more than two speakers: merge (the others are one side) | refuse.
    more_speakers: str = setting("merge", choices=("merge", "refuse"))
    dropout: float = setting(0.7, **_SHARE)  # dropout of the states of both sides and of the weights of memories


@dataclasses.dataclass(kw_only=True)
class AGHMNConfig:
    """AGHMN (``model.architecture=aghmn``)."""

    width: int = setting(100, **_WIDTH)  # width of utterances, memories and GRUs
    window: int = setting(40, **_TURNS)  # K: how many turns of the past are remembered
    # The GRU that lets memories know of each other: bif (in both directions) | unif (forward alone).
    fusion: str = setting("bif", choices=("bif", "unif"))
    # The attention GRU that sums them up: agru (forward) | biagru (in both directions).
    summary: str = setting("agru", choices=("agru", "biagru"))
    hops: int = setting(1, low=1, high=100)  # how often the memories are summed up
    dropout: float = setting(0.3, **_SHARE)  # dropout of utterances, memories and what is read of them


@dataclasses.dataclass(kw_only=True)
class BiERUConfig:
    """BiERU (``model.architecture=bieru``)."""

    # The context that an utterance is composed with: local (BiERU-lc, the vector of the turn before it) | global
    # (BiERU-gc, what the turn before it was composed to).
    context: str = setting("local", choices=("local", "global"))
    width: int = setting(100, **_WIDTH)  # width of utterances and of the LSTM; the tensor has four times its cube
    tensor_dropout: float = setting(0.15, **_SHARE)  # dropout of the entries of the tensor
    dropout: float = setting(0.8, **_SHARE)  # dropout of what is composed, and before the outputs
