"""Planted dialogues: generated conversations whose rules are known, so that the best possible accuracy is known too.

A conversation is drawn in four steps, each from explicit probabilities (``Rules``) given by a pure function:

1. how many turns (``turn_counts``) and who speaks each (``next_speaker``): speakers mostly alternate;
2. each turn's emotion (``transition``): a speaker keeps the emotion of their own previous turn (inertia), else takes
   that of the last turn by anybody else (contagion), else draws afresh. ``influences`` names those two turns;
3. whether the utterance is a short reply such as "yeah.", which says nothing about the emotion and is resolved by
   context alone;
4. if it is not, its words (``word_probabilities``), each drawn on its own: filler, or a cue word of the emotion, or,
   because cues are noisy, a cue word of another emotion.

The emotion of a turn thus depends on the past through the last emotion of each speaker only, and the text of a turn on
that turn's emotion only: a hidden Markov model, whose exact posterior a forward filter over the speakers' joint state
gives. Turn counts, speakers, replies and utterance lengths carry no information about emotions.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dtrm_jax.config import Config, DataConfig, PlantedConfig, validate
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn

T = TypeVar("T")

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
FILLERS = (
    *("the", "a", "it", "was", "we", "you", "they", "and", "then", "there"),
    *("today", "house", "street", "morning", "dinner", "phone", "with", "about", "went", "said"),
)
REPLIES = ("yeah.", "okay.", "i see.")
STOP = "."  # ends every utterance

LEXICON = tuple(word for name in PLANTED_LABELS.names for word in CUES[name]) + FILLERS


@dataclasses.dataclass(frozen=True)
class Rules:
    """The probabilities by which conversations are drawn."""

    # Emotion, in this order: each applies only where the one before it did not.
    inertia: float = 0.6  # keeps the emotion of the own previous turn, if there is one
    contagion: float = 0.5  # takes the emotion of the last turn by anybody else, if there is one
    fresh: tuple[float, ...] = (0.32, 0.22, 0.18, 0.16, 0.12)  # of each emotion when drawn afresh; sums to 1
    # Text.
    reply: float = 0.3  # the utterance is one of REPLIES, all equally likely
    words: tuple[int, int] = (3, 8)  # fewest and most words of any other utterance, all lengths equally likely
    cue: float = 0.35  # a word is a cue word, not a filler
    wrong_cue: float = 0.3  # a cue word is one of another emotion, all others equally likely
    # Speakers.
    same_speaker: float = 0.15  # the next turn is by the same speaker; else all others are equally likely


RULES = Rules()

# Independent random streams of one conversation. A new kind of draw gets a new number, so that it changes nothing else.
_STRUCTURE, _EMOTION, _TEXT = range(3)
_SPLITS = ("train", "dev", "test")


def generate(config: PlantedConfig, rules: Rules = RULES) -> Dataset:
    """Draws the planted dialogues.

    A conversation depends on the seed, its split, its position in the split, ``turns`` and ``speakers`` alone: another
    number of conversations in any split changes no other conversation. Splits are independent draws with different ids.

    Args:
        config: Sizes and seed. A split of size 0 is left out. ``speakers`` is how many people take part; in a short
            conversation not all of them need speak.
        rules: The probabilities.

    Returns:
        The dataset ``planted``, every turn labelled; turn ids count from 0.

    Raises:
        InputError: A setting has the wrong type or is out of range.
    """
    validate(Config(data=DataConfig(planted=config)))
    sizes = {"train": config.train, "dev": config.dev, "test": config.test}
    splits = {
        split: tuple(_sample_conversation(config, rules, split, index) for index in range(sizes[split]))
        for split in _SPLITS
        if sizes[split]
    }
    return Dataset("planted", PLANTED_LABELS, splits)


def vocabulary() -> list[str]:
    """Returns every word and punctuation mark of the planted dialogues, lower-case and sorted; no special tokens."""
    replies = {word for reply in REPLIES for word in reply.removesuffix(STOP).split()}
    return sorted({STOP, *LEXICON, *replies})


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
    """Returns the two earlier turns whose emotions act on a turn, None where there is no such turn.

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
    """Returns the probability ``[C]`` of each emotion at a turn, given the emotions that act on it.

    Args:
        own: The emotion of the speaker's own previous turn, or None if there is none.
        other: The emotion of the last turn by anybody else, or None if there is none.
        rules: The probabilities.
    """
    law = np.array(rules.fresh)
    # From the last resort to the first: each choice leaves its remainder to what was built before it.
    for source, probability in ((other, rules.contagion), (own, rules.inertia)):
        if source is not None:
            law *= 1 - probability
            law[source] += probability
    return law


def word_probabilities(emotion: int, rules: Rules) -> np.ndarray:
    """Returns the probability ``[len(LEXICON)]`` of each word in an utterance that is not a short reply."""
    parts = []
    for index, name in enumerate(PLANTED_LABELS.names):
        share = 1 - rules.wrong_cue if index == emotion else rules.wrong_cue / (len(PLANTED_LABELS) - 1)
        parts.append(np.full(len(CUES[name]), rules.cue * share / len(CUES[name])))
    parts.append(np.full(len(FILLERS), (1 - rules.cue) / len(FILLERS)))
    return np.concatenate(parts)


def _sample_conversation(config: PlantedConfig, rules: Rules, split: str, index: int) -> Conversation:
    streams = [
        np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_SPLITS.index(split), index, kind)))
        for kind in (_STRUCTURE, _EMOTION, _TEXT)
    ]
    speakers = _sample_speakers(config, rules, streams[_STRUCTURE])
    emotions = _sample_emotions(speakers, rules, streams[_EMOTION])
    texts = [_sample_text(emotion, rules, streams[_TEXT]) for emotion in emotions]
    turns = tuple(
        Turn(id=str(turn), speaker=SPEAKERS[speaker], text=text, label=PLANTED_LABELS.names[emotion])
        for turn, (speaker, emotion, text) in enumerate(zip(speakers, emotions, texts, strict=True))
    )
    return Conversation(f"{split}-{index}", turns)


def _sample_speakers(config: PlantedConfig, rules: Rules, rng: np.random.Generator) -> list[int]:
    speakers: list[int] = []
    for _ in range(_pick(rng, turn_counts(config.turns))):
        previous = speakers[-1] if speakers else None
        speakers.append(_draw(rng, next_speaker(previous, config.speakers, rules)))
    return speakers


def _sample_emotions(speakers: Sequence[int], rules: Rules, rng: np.random.Generator) -> list[int]:
    emotions: list[int] = []
    for turn in range(len(speakers)):
        own, other = (None if source is None else emotions[source] for source in influences(speakers, turn))
        emotions.append(_draw(rng, transition(own, other, rules)))
    return emotions


def _sample_text(emotion: int, rules: Rules, rng: np.random.Generator) -> str:
    if rng.random() < rules.reply:
        return _pick(rng, REPLIES)
    fewest, most = rules.words
    law = word_probabilities(emotion, rules)
    words = [LEXICON[_draw(rng, law)] for _ in range(_pick(rng, range(fewest, most + 1)))]
    return " ".join(words) + STOP


def _draw(rng: np.random.Generator, law: np.ndarray) -> int:
    # By inverting the cumulative law with one uniform number: Generator.choice may draw differently in a later NumPy.
    cumulative = np.cumsum(law)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[_draw(rng, np.full(len(choices), 1 / len(choices)))]
