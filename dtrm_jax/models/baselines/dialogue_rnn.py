"""DialogueRNN: a global state, a state of every party, and an emotion state, each a GRU.

Majumder, Poria, Hazarika, Mihalcea, Gelbukh and Cambria: DialogueRNN: An Attentive RNN for Emotion Detection in
Conversations, AAAI 2019.

With ``u_t`` the vectors of all modalities of turn t end to end and ``s`` who speaks in it::

    g_t = GRU_g([u_t; q_s], g_{t-1})                   the global state, from the party state before the turn
    c_t = sum_{j<t} softmax_j(g_j . W u_t) g_j         general attention; simple: softmax_j(w . g_j)
    q_s = GRU_p([u_t; c_t], q_s)                       the party state of who speaks
    q_p = GRU_l([u_t; q_s], q_p)                       that of every other party p, if listeners are active
    e_t = GRU_e(q_s, e_{t-1})                          the emotion state
    a_t = sum_j softmax_j(e_j . (W_a e_t + b_a)) e_j   if there is attention; else a_t = e_t
    y_t = W_y relu(W_h a_t + b_h) + b_y

With two directions, all states are computed from the end as well, and ``e_t`` are both emotion states side by side. All
states begin as zeros, ``c_1`` is zero, and dropout acts on every new state.

Where the authors' code is not their paper: listeners read the speaker's state and the utterance, where the paper has
c_t and the listener's face; and it computes the attention above with a bias. Here it is as in the code. In the code's
first version, the second direction reversed the turns and not their speakers; later ones reverse both, as is done here.

What is different: attention to earlier global states reaches back ``window`` turns. There are ``parties`` party states;
if a conversation has more speakers, those who come last share one. Speakers are numbered as they first speak, so that
nothing is known of those to come.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.baseline_settings import DialogueRNNConfig
from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines import parties
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.baselines.parties import split_gru
from dtrm_jax.models.layers.cells import GRUCell, follow, follow_noting, gru, uniform, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.few_rows import FewRows, StepAffine
from dtrm_jax.models.layers.lanes import Lanes
from dtrm_jax.models.layers.matching import MatchingAttention
from dtrm_jax.models.layers.steps import Past


class DialogueRNN(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "DialogueRNN"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 1e-5,
            "optimizer.warmup_steps": 0,
            "train.epochs": 60,
            "packing.utterances": 1400,  # their batch is 30 conversations, of IEMOCAP
        },
        "iemocap": {
            "train.class_balance": 1.0,
            "model.dialogue_rnn.parties": 2,
            "model.dialogue_rnn.window": 110,  # its longest conversation has as many turns
            "model.dialogue_rnn.attention_window": 110,
        },
        "meld": {
            "model.dialogue_rnn.global_width": 150,
            "model.dialogue_rnn.party_width": 150,
            "model.dialogue_rnn.emotion_width": 100,
            "model.dialogue_rnn.hidden": 100,
            "model.dialogue_rnn.window": 40,  # its longest conversation has 33 turns
            "optimizer.learning_rate": 5e-4,
            "train.epochs": 100,
            "packing.utterances": 300,
        },
        "avec": {
            "model.dialogue_rnn.parties": 2,
            "model.dialogue_rnn.bidirectional": False,
            "model.dialogue_rnn.attention": "none",
            "model.dialogue_rnn.context": "simple",
            "model.dialogue_rnn.global_width": 100,
            "model.dialogue_rnn.party_width": 100,
            "model.dialogue_rnn.emotion_width": 100,
            "model.dialogue_rnn.hidden": 100,
            "model.dialogue_rnn.activation": "tanh",
            "model.dialogue_rnn.recurrent_dropout": 0.0,
            "model.dialogue_rnn.state_dropout": 0.0,
            "model.dialogue_rnn.dropout": 0.0,
            "optimizer.weight_decay": 1e-4,
            "train.epochs": 100,
        },
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.dialogue_rnn
        u_UxM = joined(self.inputs(batch, deterministic=deterministic))
        speaker_U = jnp.clip(batch.speaker_U, 0, own.parties - 1)
        lanes = ways(batch, both=own.bidirectional)
        e_UxD = EmotionStates(own, name="forward")(u_UxM, speaker_U, lanes.forward, deterministic)
        if own.bidirectional:
            backward = EmotionStates(own, name="backward")
            flipped = backward(u_UxM[::-1], speaker_U[::-1], lanes.backward, deterministic)
            e_UxD = jnp.concatenate([e_UxD, flipped[::-1]], axis=-1)
        e_UxD = Dropout(own.state_dropout)(e_UxD, deterministic)
        if own.attention == "general2":
            attention = MatchingAttention(own.attention_window, squash=False, name="attention")
            e_UxD = attention(e_UxD, batch.conversation_U, batch.turn_U)
        width = own.hidden * (2 if own.bidirectional else 1)
        hidden_UxD = nn.Dense(width, name="hidden")(e_UxD)
        hidden_UxD = jnp.tanh(hidden_UxD) if own.activation == "tanh" else jax.nn.relu(hidden_UxD)
        return nn.Dense(self.outputs, name="output")(Dropout(own.dropout)(hidden_UxD, deterministic))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says so of the second direction and of attention over all turns."""
        return config.dialogue_rnn.bidirectional or config.dialogue_rnn.attention != "none"


class _State(NamedTuple):
    """The state of the loop.

    Attributes:
        global_: g_t.
        speaker: q_s of who has spoken. No later turn reads it here; the emotion states do.
        parties: q of every party.
    """

    global_: Array
    speaker: Array
    parties: Array


class _Weights(NamedTuple):
    """What the loop reads: of each cell the products that depend on states.

    Attributes:
        score_D: w of simple attention; None with general attention.
        party_to_global: Of GRU_g's inputs, those from q_s.
        global_: Of GRU_g's state.
        context_to_party: Of GRU_p's inputs, those from c_t.
        party: Of GRU_p's state.
        speaker_to_listener: Of GRU_l's inputs, those from q_s; None without listeners.
        listener: Of GRU_l's state.
    """

    score_D: Array | None
    party_to_global: FewRows
    global_: StepAffine
    context_to_party: FewRows
    party: StepAffine
    speaker_to_listener: FewRows | None
    listener: StepAffine | None


class _Turn(NamedTuple):
    """What the loop reads of a turn: what the products with ``u_t`` are, and dropout's factors (None: no dropout).

    Attributes:
        query: W u_t of general attention; None with simple attention.
        to_global: For GRU_g.
        to_party: For GRU_p.
        to_listener: For GRU_l; None without listeners.
        speaks: One-hot, over the parties.
        keep_global: Of g_t.
        keep_party: Of q_s.
        keep_listener: Of q_p, of every party.
    """

    query: Array | None
    to_global: Array
    to_party: Array
    to_listener: Array | None
    speaks: Array
    keep_global: Array | None
    keep_party: Array | None
    keep_listener: Array | None


class EmotionStates(nn.Module):
    """``e_t`` of one direction.

    Attributes:
        config: Settings.
    """

    config: DialogueRNNConfig

    @nn.compact
    def __call__(
        self, u_UxM: Float[Array, "U M"], speaker_U: Int[Array, " U"], lanes: Lanes, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the emotion states of all turns.

        Args:
            u_UxM: Vectors of the turns.
            speaker_U: The party that speaks.
            lanes: Of this direction.
            deterministic: No dropout.
        """
        config = self.config
        weights, turns = self._prepared(u_UxM, speaker_U, deterministic)
        zeros = _State(*map(jnp.zeros, (config.global_width, config.party_width, (config.parties, config.party_width))))
        before_KxD = jnp.zeros((config.window, config.global_width))
        q_UxD = follow_noting(self, _step, weights, turns, lanes, zeros, before_KxD).speaker
        cell = GRUCell(config.emotion_width, name="emotion")(config.party_width)
        keep = parties.keep(config.recurrent_dropout, deterministic, len(u_UxM), config.emotion_width)
        turns = (cell.inputs(q_UxD), keep)
        zeros = jnp.zeros(config.emotion_width)
        return follow(self, parties.dropped_gru, cell.hidden, turns, lanes, zeros, name="emotion_state")

    @nn.nowrap
    def _prepared(self, u_UxM: Array, speaker_U: Array, deterministic: bool) -> tuple[_Weights, _Turn]:
        """Returns the weights of the loop and what it reads of the turns: all products with ``u_t`` are here."""
        config = self.config
        keep = functools.partial(parties.keep, config.recurrent_dropout, deterministic, len(u_UxM))
        to_global, (from_party,), global_ = split_gru("global", u_UxM, config.global_width, [config.party_width])
        to_party, (from_context,), party = split_gru("party", u_UxM, config.party_width, [config.global_width])
        to_listener = from_speaker = listener = keep_listener = query = score_D = None
        if config.active_listener:
            width = config.party_width
            to_listener, (from_speaker,), listener = split_gru("listener", u_UxM, width, [width])
            keep_listener = keep(config.parties, width)
        if config.context == "general":
            query = nn.Dense(config.global_width, use_bias=False, name="query")(u_UxM)
        else:
            score_D = self.param("score", uniform(config.global_width), (config.global_width,))
        weights = _Weights(score_D, from_party, global_, from_context, party, from_speaker, listener)
        speaks = jax.nn.one_hot(speaker_U, config.parties)
        kept = keep(config.global_width), keep(config.party_width), keep_listener
        return weights, _Turn(query, to_global, to_party, to_listener, speaks, *kept)


def _step(weights: _Weights, state: _State, turn: _Turn, past: Past) -> tuple[_State, Array]:
    """Computes the states after a turn; the global state is its note."""
    own_NxD = parties.of_speaker(state.parties, turn.speaks)
    to_global_NxY = turn.to_global + weights.party_to_global(own_NxD)
    g_NxD = parties.kept(gru(weights.global_, state.global_, to_global_NxY), turn.keep_global)
    if turn.query is None:
        scores_NxK = past.notes_NxKxD @ weights.score_D
    else:
        scores_NxK = jnp.einsum("nkd,nd->nk", past.notes_NxKxD, turn.query)
    c_NxD = parties.attended(past, scores_NxK)
    speaker_NxD = gru(weights.party, own_NxD, turn.to_party + weights.context_to_party(c_NxD))
    speaker_NxD = parties.kept(speaker_NxD, turn.keep_party)
    others_NxPxD = state.parties
    if weights.listener is not None:
        heard_NxY = turn.to_listener + weights.speaker_to_listener(speaker_NxD)
        others_NxPxD = parties.kept(gru(weights.listener, others_NxPxD, heard_NxY[:, None]), turn.keep_listener)
    return _State(g_NxD, speaker_NxD, parties.replaced(speaker_NxD, others_NxPxD, turn.speaks)), g_NxD
