"""COSMIC: DialogueRNN whose states read what a model of common sense makes of the utterances.

Ghosal, Majumder, Gelbukh, Mihalcea and Poria: COSMIC: COmmonSense knowledge for eMotion Identification in
Conversations, Findings of EMNLP 2020.

With ``x_t`` the vectors of all modalities of turn t end to end, ``s`` who speaks in it, ``p`` every other party, and
five vectors that COMET gives for the utterance: the speaker's intent, the effect on the speaker, the speaker's
reaction, the effect on the others and their reaction::

    u_t = W_u x_t + b_u
    g_t = GRU_g([u_t; q_s; r_s], g_{t-1})                        the global state, from the states before the turn
    c_t = sum_{j<t} softmax_j(tanh(g_j . (W u_t + b))) g_j       general2 attention; simple: softmax_j(w . g_j)
    r_s = GRU_r([u_t; reaction; c_t], r_s)                       the external state of who speaks
    q_s = GRU_q([effect; c_t], q_s)                              the internal state
    i_s = GRU_i([intent; q_s], i_s)                              the intent
    r_p = GRU_rl([u_t; reaction of others; r_s], r_p)            if listeners are active
    q_p = GRU_ql([effect on others; q_s], q_p)
    e_t = GRU_e([u_t; q_s; r_s; i_s], e_{t-1})                   the emotion state
    a_t = sum_j softmax_j(tanh(e_j . (W_a e_t + b_a))) e_j       if there is attention; else a_t = e_t
    y_t = W_y relu(W_h a_t + b_h) + b_y

With two directions, all states are computed from the end as well, and ``e_t`` are both emotion states side by side. All
states begin as zeros, ``c_1`` is zero, and dropout acts on every new state.

What the authors' code does otherwise: a state that a GRU of the same turn reads has no dropout yet. On MELD it has no
attention over the emotion states (``model.cosmic.attention=none``). EmoryNLP's loader takes all speakers for one. It
also trains a GRU on the effects, whose output nothing reads.

What is different here: the five vectors are the turn's ``commonsense`` features, end to end in the order in which they
are named above, all of the same width. Whoever uses the model brings them. Without them
(``model.cosmic.commonsense=False``) the GRUs read the rest. The authors' text vector is the mean of four layers of
RoBERTa, each with a batch norm; features are standardised here (``data.text_layer=0`` takes the mean). Attention to
earlier global states reaches back ``window`` turns. There are ``parties`` states of parties; if a conversation has more
speakers, those who come last share one.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.baseline_settings import COSMICConfig
from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.conversation import COMMONSENSE
from dtrm_jax.errors import InputError
from dtrm_jax.models.baselines import parties
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.layers.cells import follow, follow_noting, uniform, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.few_rows import FewRows, StepAffine
from dtrm_jax.models.layers.lanes import Lanes
from dtrm_jax.models.layers.matching import MatchingAttention
from dtrm_jax.models.layers.steps import Past

# The parts of the commonsense features, in their order.
RELATIONS = ("intent", "effect", "reaction", "effect_on_others", "reaction_of_others")


class COSMIC(Baseline):
    """``y_t`` of the equations above."""

    title: ClassVar[str] = "COSMIC"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 3e-4,
            "optimizer.warmup_steps": 0,
            "train.epochs": 60,
            "packing.utterances": 800,  # their batch is 16 conversations, of IEMOCAP
        },
        "iemocap": {"model.cosmic.parties": 2},
        "meld": {
            "model.cosmic.context": "simple",
            "model.cosmic.window": 40,  # its longest conversation has 33 turns
            "model.cosmic.dropout": 0.5,
            "model.cosmic.recurrent_dropout": 0.3,
            "optimizer.weight_decay": 3e-5,
            "packing.utterances": 80,  # 8 conversations
        },
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.cosmic
        x_UxI = joined(self.inputs(batch, deterministic=deterministic))
        u_UxD = nn.Dense(own.hidden, name="utterance")(x_UxI)
        known = dict.fromkeys(RELATIONS, jnp.zeros((len(u_UxD), 0)))
        if own.commonsense:
            vectors = jnp.split(jnp.asarray(batch.features_UxM[COMMONSENSE]), len(RELATIONS), axis=-1)
            known = dict(zip(RELATIONS, vectors, strict=True))
        speaker_U = jnp.clip(batch.speaker_U, 0, own.parties - 1)
        lanes = ways(batch, both=own.bidirectional)
        e_UxD = EmotionStates(own, name="forward")(u_UxD, known, speaker_U, lanes.forward, deterministic)
        if own.bidirectional:
            flipped = {name: x[::-1] for name, x in known.items()}
            backward = EmotionStates(own, name="backward")
            from_end = backward(u_UxD[::-1], flipped, speaker_U[::-1], lanes.backward, deterministic)
            e_UxD = jnp.concatenate([e_UxD, from_end[::-1]], axis=-1)
        e_UxD = Dropout(own.recurrent_dropout)(e_UxD, deterministic)
        if own.attention == "general2":
            attention = MatchingAttention(own.attention_window, name="attention")
            e_UxD = attention(e_UxD, batch.conversation_U, batch.turn_U)
        hidden_UxD = jax.nn.relu(nn.Dense(own.hidden, name="hidden")(e_UxD))
        return nn.Dense(self.outputs, name="output")(Dropout(own.dropout)(hidden_UxD, deterministic))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Says so of the second direction and of attention over all turns."""
        return config.cosmic.bidirectional or config.cosmic.attention != "none"

    @classmethod
    def build(cls, config: Config, *, encoder: Encoder | None, outputs: int, shape: PackShape) -> "COSMIC":
        """See ``Model.build``."""
        size = dict(shape.features).get(COMMONSENSE, 0)
        if size % len(RELATIONS):
            raise InputError(
                f"{COMMONSENSE} features: expected {len(RELATIONS)} vectors of one width end to end "
                f"({', '.join(RELATIONS)}), found {size} numbers"
            )
        return super().build(config, encoder=encoder, outputs=outputs, shape=shape)


class _States(NamedTuple):
    """The state of the loop.

    Attributes:
        global_: g_t.
        internal: q of every party.
        external: r of every party.
        intent: i of every party.
        speaker: q, r and i of who has spoken. No later turn reads them here; the emotion states do.
    """

    global_: Array
    internal: Array
    external: Array
    intent: Array
    speaker: tuple[Array, Array, Array]


class _Weights(NamedTuple):
    """What the loop reads.

    Attributes:
        score_D: w of simple attention; None with general2.
        grus: Of each GRU, the matrices of the states that it reads and the map of its own state.
    """

    score_D: Array | None
    grus: dict[str, tuple[list[FewRows], StepAffine]]


class _Turn(NamedTuple):
    """What the loop reads of a turn.

    Attributes:
        query: ``W u_t + b`` of general2 attention; None with simple attention.
        speaks: One-hot, over the parties.
        known: Of each GRU, the product with what is known of the turn beforehand.
        keep: Of each GRU, the factors of dropout; None without.
    """

    query: Array | None
    speaks: Array
    known: dict[str, Array]
    keep: dict[str, Array | None]


class EmotionStates(nn.Module):
    """``e_t`` of one direction.

    Attributes:
        config: Settings.
    """

    config: COSMICConfig

    @nn.compact
    def __call__(
        self,
        u_UxD: Float[Array, "U D"],
        known: dict[str, Float[Array, "U I"]],
        speaker_U: Int[Array, " U"],
        lanes: Lanes,
        deterministic: bool,
    ) -> Float[Array, "U Y"]:
        """Returns the emotion states of all turns.

        Args:
            u_UxD: Utterances.
            known: Relation -> its vectors; of width 0 without them.
            speaker_U: The party that speaks.
            lanes: Of this direction.
            deterministic: No dropout.
        """
        config = self.config
        keep = functools.partial(parties.keep, config.recurrent_dropout, deterministic, len(u_UxD))
        weights, turns = self._prepared(u_UxD, known, speaker_U, keep)
        of_parties = jnp.zeros((config.parties, config.party_width))
        zeros = _States(jnp.zeros(config.global_width), *[of_parties] * 3, (of_parties[0],) * 3)
        before_KxD = jnp.zeros((config.window, config.global_width))
        of_speaker = follow_noting(self, _step, weights, turns, lanes, zeros, before_KxD).speaker
        widths = [config.party_width] * 3
        projected, matrices, hidden = parties.split_gru("emotion", u_UxD, config.emotion_width, widths)
        projected += sum(matrix(x) for x, matrix in zip(of_speaker, matrices, strict=True))
        turns = (projected, keep(config.emotion_width))
        zeros = jnp.zeros(config.emotion_width)
        return follow(self, parties.dropped_gru, hidden, turns, lanes, zeros, name="emotion_state")

    @nn.nowrap
    def _prepared(self, u_UxD: Array, known: dict[str, Array], speaker_U: Array, keep: Any) -> tuple[_Weights, _Turn]:
        """Returns the weights of the loop and what it reads of the turns."""
        config = self.config
        width, party, count = config.global_width, config.party_width, config.parties
        # What each GRU reads besides its state: what is known beforehand, and the widths of other states.
        reads = {
            "global": ([u_UxD], [party, party]),
            "external": ([u_UxD, known["reaction"]], [width]),
            "internal": ([known["effect"]], [width]),
            "intent": ([known["intent"]], [party]),
        }
        if config.active_listener:
            reads["external_listener"] = ([u_UxD, known["reaction_of_others"]], [party])
            reads["internal_listener"] = ([known["effect_on_others"]], [party])
        grus, products, factors = {}, {}, {}
        for name, (of_turn, states) in reads.items():
            own = width if name == "global" else party
            x_UxI = jnp.concatenate(of_turn, axis=-1)
            products[name], *grus[name] = parties.split_gru(name, x_UxI, own, states)
            factors[name] = keep(count, own) if name.endswith("listener") else keep(own)
        query = score_D = None
        if config.context == "general2":
            query = nn.Dense(width, name="query")(u_UxD)
        else:
            score_D = self.param("score", uniform(width), (width,))
        grus = {name: tuple(weights) for name, weights in grus.items()}
        return _Weights(score_D, grus), _Turn(query, jax.nn.one_hot(speaker_U, count), products, factors)


def _step(weights: _Weights, states: _States, turn: _Turn, past: Past) -> tuple[_States, Array]:
    """Computes the states after a turn; the global state is its note."""

    def after(name: str, state: Array, *read: Array) -> Array:
        """The new state of a GRU. States of all parties are computed together."""
        matrices, hidden = weights.grus[name]
        known = turn.known[name] if state.ndim == 2 else turn.known[name][:, None]
        known += sum(matrix(x) for x, matrix in zip(read, matrices, strict=True))
        return parties.dropped_gru(hidden, state, (known, turn.keep[name]))

    q_NxD, r_NxD, i_NxD = (parties.of_speaker(x, turn.speaks) for x in states[1:4])
    g_NxD = after("global", states.global_, q_NxD, r_NxD)
    if turn.query is None:
        scores_NxK = past.notes_NxKxD @ weights.score_D
    else:
        scores_NxK = jnp.tanh(jnp.einsum("nkd,nd->nk", past.notes_NxKxD, turn.query))
    c_NxD = parties.attended(past, scores_NxK)
    r_NxD = after("external", r_NxD, c_NxD)
    q_NxD = after("internal", q_NxD, c_NxD)
    i_NxD = after("intent", i_NxD, q_NxD)
    q_NxPxD, r_NxPxD = states.internal, states.external
    if "internal_listener" in weights.grus:
        q_NxPxD = after("internal_listener", q_NxPxD, q_NxD[:, None])
        r_NxPxD = after("external_listener", r_NxPxD, r_NxD[:, None])
    pairs = ((q_NxD, q_NxPxD), (r_NxD, r_NxPxD), (i_NxD, states.intent))
    of_parties = (parties.replaced(*pair, turn.speaks) for pair in pairs)
    return _States(g_NxD, *of_parties, (q_NxD, r_NxD, i_NxD)), g_NxD
