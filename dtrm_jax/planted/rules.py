"""The rules of the planted dialogues: every probability law, each a pure function of ``Rules``.

A conversation is drawn in five steps, each from explicit probabilities:

1. how many turns there are (``turn_counts``) and who speaks each of them (``next_speaker``): speakers mostly alternate;
2. each turn's *state* (``transition``), the speaker's lasting emotion: a speaker keeps that of their own previous turn
   (inertia), or else takes that of the last turn by anybody else (contagion), or else draws a fresh one.
   ``influences`` names those two turns;
3. the *kind* of the turn (``kind_probabilities``), and with it the label:

   - plain: the label is the state; voice and face show nothing;
   - voice burst: the label is a momentary emotion, drawn like a fresh state, which the voice shows and the face does
     not. The state goes on underneath, and it is what later turns depend on;
   - face burst: the same, but shown by the face and not by the voice;
   - mask: the label is the state, the face shows some emotion out of politeness, and the voice is *flat*, which tells
     that the face is not to be believed: the face must be weighed by the voice;
   - irony: the words are those of the state, but the voice is *ironic*: the label is the opposite of the state
     (``OPPOSITE``), so that the voice decides what the words mean;

4. the text: a short reply such as "yeah.", which says nothing about the emotion, or words (``word_probabilities``),
   each drawn on its own: a filler, or a cue word of the state, or, because cues are noisy, a cue word of another one. A
   burst is not put into words: all of them are fillers. So "yeah." is resolved by context, or by tone if it is a burst;
5. the acoustic and visual features: the prototype (``prototypes``) of what voice and face show, plus Gaussian noise.

The state of a turn thus depends on the past through the last state of each speaker only, and the words of a turn on its
state and kind only: a hidden Markov model, whose exact posterior a forward filter over the speakers' joint state gives
(``planted.optimum``). Turn counts, speakers, replies and utterance lengths carry no information about emotions.

Two things follow and are tested. The state is distributed as ``Rules.fresh`` at every turn. And given the texts, voice
and face of *earlier* turns say nothing about a turn: they tell only whether that earlier turn was a burst, and what
its text says about the state does not depend on that, as a text without cues is equally likely in every state.
Acoustic and visual features are best read without context.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.conversation import LabelSpace

PLANTED_LABELS = LabelSpace(("neutral", "joy", "sadness", "anger", "surprise"))
SPEAKERS = ("ann", "bob", "cal", "dee")

# Every word belongs to one list only, so that a word says exactly what its probabilities say.
CUES = {
    "neutral": ("usual", "schedule", "list", "normal", "plain", "regular"),
    "joy": ("wonderful", "glad", "lovely", "delighted", "hooray", "smile"),
    "sadness": ("lonely", "crying", "miss", "lost", "sorrow", "tears"),
    "anger": ("furious", "hate", "unfair", "shut", "stupid", "enough"),
    "surprise": ("unbelievable", "suddenly", "wow", "unexpected", "astonishing", "really"),
}
FILLERS = tuple(
    "the a it was we you they and then there today house street morning dinner phone with about went said".split()
)
REPLIES = ("yeah.", "okay.", "i see.")
STOP = "."  # ends every utterance

PLAIN, VOICE_BURST, FACE_BURST, MASK, IRONY = KINDS = range(5)  # kinds of turns
# What a voice or a face shows besides the emotions, by index.
NOTHING, FLAT, IRONIC = -1, len(PLANTED_LABELS), len(PLANTED_LABELS) + 1
# What an ironic speaker means, by state.
OPPOSITE = tuple(PLANTED_LABELS.index(name) for name in ("neutral", "anger", "surprise", "joy", "sadness"))
# Acoustic features have a scale and an offset of their own, as real ones do; visual features are as drawn.
ACOUSTIC_SCALE, ACOUSTIC_OFFSET = 3.0, 5.0

LEXICON = tuple(word for name in PLANTED_LABELS.names for word in CUES[name]) + FILLERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """The probabilities by which conversations are drawn."""

    # State, in this order: each applies only where the one before it did not.
    inertia: float = 0.75  # the speaker keeps the emotion of their own previous turn, if there is one
    contagion: float = 0.5  # the speaker takes the emotion of the last turn by anybody else, if there is one
    fresh: tuple[float, ...] = (0.32, 0.22, 0.18, 0.16, 0.12)  # of each emotion when it is drawn fresh; sums to 1
    # Kind of the turn; plain otherwise.
    voice_burst: float = 0.12
    face_burst: float = 0.12
    mask: float = 0.12
    irony: float = 0.15
    # Text.
    reply: float = 0.3  # the utterance is one of REPLIES, all equally likely
    words: tuple[int, int] = (3, 8)  # fewest and most words of any other utterance, all lengths equally likely
    cue: float = 0.35  # a word is a cue word, not a filler
    wrong_cue: float = 0.3  # a cue word is one of another emotion, all others equally likely
    # Features: distance of a prototype from zero, in standard deviations of the noise.
    strength: float = 4.0
    # Speakers.
    same_speaker: float = 0.15  # the next turn is by the same speaker; else all others are equally likely


RULES = Rules()


def turn_counts(mean: int) -> range:
    """Returns the lengths a conversation may have, all equally likely: ``mean`` plus or minus half of it."""
    return range(mean - mean // 2, mean + mean // 2 + 1)


def next_speaker(previous: int | None, speakers: int, rules: Rules) -> np.ndarray:
    """Returns the probability ``[speakers]`` of each speaker to take the next turn.

    Args:
        previous: Who spoke the turn before, or None at the first turn.
        speakers: How many take part, at least 2.
        rules: The probabilities.
    """
    if previous is None:
        return np.full(speakers, 1 / speakers)
    law = np.full(speakers, (1 - rules.same_speaker) / (speakers - 1))
    law[previous] = rules.same_speaker
    return law


def influences(speakers: Sequence[int], turn: int) -> tuple[int | None, int | None]:
    """Returns the two earlier turns whose states act on a turn, None where there is no such turn.

    Args:
        speakers: The speaker of every turn.
        turn: The target's index, from 0.

    Returns:
        The latest earlier turn by the same speaker, and the latest earlier turn by anybody else.
    """
    earlier = range(turn - 1, -1, -1)
    own = next((index for index in earlier if speakers[index] == speakers[turn]), None)
    other = next((index for index in earlier if speakers[index] != speakers[turn]), None)
    return own, other


def transition(own: int | None, other: int | None, rules: Rules) -> np.ndarray:
    """Returns the probability ``[C]`` of each state at a turn, given the states that act on it.

    Args:
        own: The state at the speaker's own previous turn, or None if there is none.
        other: The state at the last turn by anybody else, or None if there is none.
        rules: The probabilities.
    """
    law = np.array(rules.fresh)
    # From the last resort to the first: each choice leaves its remainder to what was built before it.
    for source, probability in ((other, rules.contagion), (own, rules.inertia)):
        if source is not None:
            law *= 1 - probability
            law[source] += probability
    return law


def kind_probabilities(rules: Rules) -> np.ndarray:
    """Returns the probability ``[5]`` of each kind of turn, in the order of ``KINDS``."""
    special = (rules.voice_burst, rules.face_burst, rules.mask, rules.irony)
    return np.array([1 - sum(special), *special])


def label_of(kind: int, state: int, shown: int) -> int:
    """Returns the label of a turn.

    Args:
        kind: One of ``KINDS``.
        state: The speaker's lasting emotion.
        shown: The momentary emotion of a burst.
    """
    return {VOICE_BURST: shown, FACE_BURST: shown, IRONY: OPPOSITE[state]}.get(kind, state)


def word_probabilities(state: int | None, rules: Rules) -> np.ndarray:
    """Returns the probability ``[len(LEXICON)]`` of each word in an utterance that is not a short reply.

    Args:
        state: The state, or None for a burst, which is not put into words.
        rules: The probabilities.
    """
    cue = 0 if state is None else rules.cue
    parts = []
    for index, name in enumerate(PLANTED_LABELS.names):
        share = 1 - rules.wrong_cue if index == state else rules.wrong_cue / (len(PLANTED_LABELS) - 1)
        parts.append(np.full(len(CUES[name]), cue * share / len(CUES[name])))
    parts.append(np.full(len(FILLERS), (1 - cue) / len(FILLERS)))
    return np.concatenate(parts)


def prototypes(size: int, modality: str) -> np.ndarray:
    """Returns unit vectors ``[7, size]``: what shows each emotion, FLAT and IRONIC.

    They are orthogonal where the size allows it.

    Args:
        size: Dimensions of the features.
        modality: "acoustic" or "visual"; the two have different ones.
    """
    random = np.random.default_rng((size, {"acoustic": 0, "visual": 1}[modality]))
    vectors = random.standard_normal((IRONIC + 1, size))
    if size > IRONIC:
        vectors = np.linalg.qr(vectors.T)[0].T
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def shown_by(kind: int, emotion: int) -> tuple[int, int]:
    """Returns what voice and face show in a turn of a kind: an emotion, FLAT, IRONIC or NOTHING.

    Args:
        kind: One of ``KINDS``.
        emotion: The momentary emotion of a burst, or the one that a mask shows.
    """
    return {
        PLAIN: (NOTHING, NOTHING),
        VOICE_BURST: (emotion, NOTHING),
        FACE_BURST: (NOTHING, emotion),
        MASK: (FLAT, emotion),
        IRONY: (IRONIC, NOTHING),
    }[kind]
