"""Draws planted dialogues by their rules (``planted.rules``), every kind of draw from a random stream of its own."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from dtrm_jax.config import Config, DataConfig, PlantedConfig, validate
from dtrm_jax.conversation import SPLITS, Conversation, Dataset, Turn
from dtrm_jax.planted import rules as laws
from dtrm_jax.planted.rules import PLANTED_LABELS, RULES, Rules

T = TypeVar("T")

# Independent random streams of one conversation. A new kind of draw gets a new number, so that it changes nothing else.
_STRUCTURE, _STATE, _TEXT, _KIND, _SHOWN, _ACOUSTIC, _VISUAL = range(7)


def generate(config: PlantedConfig, rules: Rules = RULES) -> Dataset:
    """Draws the planted dialogues.

    A conversation depends only on the seed, its split, its position in the split, ``turns`` and ``speakers``; its
    features depend also on their dimensions. Another number of conversations in any split therefore changes no other
    conversation. Splits are independent draws with different ids.

    Args:
        config: Sizes and seed. A split of size 0 is left out. ``speakers`` is how many people take part; in a short
            conversation some of them may not speak.
        rules: The probabilities.

    Returns:
        The dataset ``planted``, every turn labelled and with features "acoustic" and "visual"; turn ids count from 0.

    Raises:
        InputError: A setting has the wrong type or is out of range.
    """
    validate(Config(data=DataConfig(planted=config)))
    sizes = {"train": config.train, "dev": config.dev, "test": config.test}
    splits = {
        split: tuple(_sample_conversation(config, rules, split, index) for index in range(sizes[split]))
        for split in SPLITS
        if sizes[split]
    }
    return Dataset("planted", PLANTED_LABELS, splits)


def _sample_conversation(config: PlantedConfig, rules: Rules, split: str, index: int) -> Conversation:
    streams = [
        np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(SPLITS.index(split), index, kind)))
        for kind in range(_VISUAL + 1)
    ]
    speakers = _sample_speakers(config, rules, streams[_STRUCTURE])
    states = _sample_states(speakers, rules, streams[_STATE])
    kinds = [_draw(streams[_KIND], laws.kind_probabilities(rules)) for _ in speakers]
    shown = [_draw(streams[_SHOWN], np.array(rules.fresh)) for _ in speakers]
    turns = []
    for turn, (speaker, state, kind) in enumerate(zip(speakers, states, kinds, strict=True)):
        burst = kind in (laws.VOICE_BURST, laws.FACE_BURST)
        text = _sample_text(None if burst else state, rules, streams[_TEXT])
        label = PLANTED_LABELS.names[laws.label_of(kind, state, shown[turn])]
        turns.append(Turn(str(turn), laws.SPEAKERS[speaker], text, label=label))
    voice, face = zip(*map(laws.shown_by, kinds, shown), strict=True)
    features = {
        "acoustic": _sample_features(voice, config.acoustic, "acoustic", rules, streams[_ACOUSTIC]),
        "visual": _sample_features(face, config.visual, "visual", rules, streams[_VISUAL]),
    }
    features["acoustic"] = features["acoustic"] * laws.ACOUSTIC_SCALE + laws.ACOUSTIC_OFFSET
    return Conversation(
        f"{split}-{index}", tuple(turns), {name: matrix.astype(np.float32) for name, matrix in features.items()}
    )


def _sample_speakers(config: PlantedConfig, rules: Rules, rng: np.random.Generator) -> list[int]:
    speakers: list[int] = []
    for _ in range(_pick(rng, laws.turn_counts(config.turns))):
        previous = speakers[-1] if speakers else None
        speakers.append(_draw(rng, laws.next_speaker(previous, config.speakers, rules)))
    return speakers


def _sample_states(speakers: Sequence[int], rules: Rules, rng: np.random.Generator) -> list[int]:
    states: list[int] = []
    for turn in range(len(speakers)):
        own, other = (None if source is None else states[source] for source in laws.influences(speakers, turn))
        states.append(_draw(rng, laws.transition(own, other, rules)))
    return states


def _sample_features(
    shown: Sequence[int], size: int, modality: str, rules: Rules, rng: np.random.Generator
) -> np.ndarray:
    """Returns ``[L, size]``: noise around the prototype of what is shown at each turn."""
    nothing = np.zeros((1, size))  # the last row, which NOTHING points to
    centers = np.concatenate([rules.strength * laws.prototypes(size, modality), nothing])
    return centers[list(shown)] + rng.standard_normal((len(shown), size))


def _sample_text(state: int | None, rules: Rules, rng: np.random.Generator) -> str:
    if rng.random() < rules.reply:
        return _pick(rng, laws.REPLIES)
    fewest, most = rules.words
    law = laws.word_probabilities(state, rules)
    words = [laws.LEXICON[_draw(rng, law)] for _ in range(_pick(rng, range(fewest, most + 1)))]
    return " ".join(words) + laws.STOP


def _draw(rng: np.random.Generator, law: np.ndarray) -> int:
    # By inverting the cumulative law with one uniform number: Generator.choice may draw differently in a later NumPy.
    cumulative = np.cumsum(law)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[_draw(rng, np.full(len(choices), 1 / len(choices)))]
