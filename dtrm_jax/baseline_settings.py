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
class COSMICConfig:
    """COSMIC (``model.architecture=cosmic``)."""

    # Whether it reads the turns' "commonsense" features (docs/baselines.md); without them it is an ablation.
    commonsense: bool = True
    # Whether all states are computed from the last turn, too. Then it is not causal.
    bidirectional: bool = True
    # Attention to earlier global states: general2 (asked by the turn) | simple (the same for every turn).
    context: str = setting("general2", choices=("general2", "simple"))
    # How many global states it reaches back; IEMOCAP's longest conversation has 110.
    window: int = setting(128, **_TURNS)
    active_listener: bool = True  # whether internal and external states of parties who listen change, too
    # States of parties. If a conversation has more speakers, those who are the last to speak up share one.
    parties: int = setting(9, low=1, high=1000)
    # Attention over the emotion states of the whole conversation: none | general2 (matching attention). With it, the
    # model is not causal.
    attention: str = setting("general2", choices=("none", "general2"))
    attention_window: int = setting(128, **_TURNS)  # how many turns that attention reaches in both directions
    global_width: int = setting(150, **_WIDTH)  # width of the global state
    party_width: int = setting(150, **_WIDTH)  # width of a party's internal, external and intent state, each
    emotion_width: int = setting(450, **_WIDTH)  # width of the emotion state, in each direction
    hidden: int = setting(100, **_WIDTH)  # width of utterances and of the layer before the outputs
    recurrent_dropout: float = setting(0.1, **_SHARE)  # dropout of every new state, and of the emotion states again
    dropout: float = setting(0.25, **_SHARE)  # dropout before the outputs


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


@dataclasses.dataclass(kw_only=True)
class DialogueGCNConfig:
    """DialogueGCN (``model.architecture=dialogue_gcn``)."""

    recurrence: str = setting("lstm", choices=("lstm", "gru"))  # kind of the recurrent layers below the graph
    context_layers: int = setting(2, low=1, high=100)  # their number; they go in both directions
    width: int = setting(100, **_WIDTH)  # width of their state, in each direction
    past: int = setting(10, low=0, high=10**4)  # how many turns before a turn have an edge to it
    future: int = setting(10, low=0, high=10**4)  # how many turns after it have one
    # How many speakers the relations tell apart; all after the last but one are one. There are twice their square.
    speakers: int = setting(2, low=1, high=100)
    bases: int = setting(30, low=1, high=1000)  # matrices that those of the relations are composed of
    hidden: int = setting(100, **_WIDTH)  # width of the graph's vectors and of the layer before the outputs
    nodal_attention: bool = True  # whether turns attend to all of their conversation above the graph
    attention_window: int = setting(128, **_TURNS)  # how many turns that attention reaches in both directions
    dropout: float = setting(0.4, **_SHARE)  # dropout between recurrent layers and before the outputs


@dataclasses.dataclass(kw_only=True)
class MMGCNConfig:
    """MMGCN (``model.architecture=mmgcn``)."""

    context_layers: int = setting(2, low=1, high=100)  # layers of the LSTM over utterances, in both directions
    width: int = setting(100, **_WIDTH)  # width of its state, in each direction, and half of every modality's width
    speaker_width: int = setting(100, **_WIDTH)  # width of the vectors of speakers
    speakers: int = setting(2, low=1, high=100)  # how many speakers are told apart; all after the last but one are one
    hidden: int = setting(100, **_WIDTH)  # width of the graph's vectors
    layers: int = setting(4, low=1, high=1000)  # layers of the graph
    alpha: float = setting(0.1, low=0, high=1)  # share of the first layer's input in that of every layer
    eta: float = setting(0.5, low=0, high=100)  # how far layers are from the identity; the deeper, the nearer
    cross_modal: float = setting(1.0, low=0, high=100)  # gamma: weight of the edges between modalities
    window: int = setting(128, **_TURNS)  # how many turns the edges of a modality reach in both directions
    dropout: float = setting(0.4, **_SHARE)  # dropout before every layer


@dataclasses.dataclass(kw_only=True)
class SDTConfig:
    """SDT (``model.architecture=sdt``)."""

    width: int = setting(1024, **_WIDTH)  # width of the Transformers and of their feed-forward layers
    heads: int = setting(8, low=1, high=1000)  # attention heads, which must divide the width
    speakers: int = setting(2, low=1, high=100)  # how many speakers are told apart; all after the last but one are one
    # The gates of single modalities: learned | fixed (no matrix in them, as the authors have it for MELD).
    gates: str = setting("learned", choices=("learned", "fixed"))
    window: int = setting(128, **_TURNS)  # how many turns attention reaches in both directions
    student_weight: float = setting(1.0, low=0, high=1000)  # gamma_2: weight of the students' losses on the labels
    # gamma_3: weight of the students' divergence from the whole model.
    distillation_weight: float = setting(1.0, low=0, high=1000)
    temperature: float = setting(1.0, low=0.001, high=1000)  # tau of the divergence
    dropout: float = setting(0.5, **_SHARE)  # dropout inside the Transformers and before the students' outputs


@dataclasses.dataclass(kw_only=True)
class DAGERCConfig:
    """DAG-ERC (``model.architecture=dag_erc``)."""

    layers: int = setting(4, low=1, high=100)  # layers of the graph
    width: int = setting(300, **_WIDTH)  # width of all states
    same_speaker: int = setting(1, **_TURNS)  # omega: a turn's predecessors go back to that turn of its speaker
    window: int = setting(32, **_TURNS)  # how many turns they go back at most
    dropout: float = setting(0.2, **_SHARE)  # dropout before the outputs


@dataclasses.dataclass(kw_only=True)
class TLERCConfig:
    """TL-ERC and the generative model that it may begin with (``model.architecture=tl_erc`` or ``hred``)."""

    width: int = setting(256, **_WIDTH)  # width of the GRU over turns, and of the decoder
    dropout: float = setting(0.0, **_SHARE)  # dropout of the GRU's states
    embedding: int = setting(300, **_WIDTH)  # width of the decoder's word vectors (hred alone)
    tokens: int = setting(30, low=1, high=2**17)  # how many tokens of what is said next are generated (hred alone)
