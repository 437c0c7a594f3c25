"""The optimum on planted conversations against brute force over every hidden path."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from dtrm_jax.config import PlantedConfig
from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.planted import Information, generate, optimal_accuracy
from dtrm_jax.planted import rules as planted
from dtrm_jax.planted.optimum import posteriors
from dtrm_jax.planted.rules import CUES, FILLERS, PLANTED_LABELS, REPLIES, RULES

NAMES = PLANTED_LABELS.names
# Far from the usual rules, so that a constant in place of a rule shows.
RULES_HERE = dataclasses.replace(
    RULES,
    inertia=0.45,
    contagion=0.35,
    fresh=(0.1, 0.35, 0.25, 0.05, 0.25),
    reply=0.2,
    words=(1, 3),
    cue=0.55,
    wrong_cue=0.4,
    voice_burst=0.2,
    face_burst=0.1,
    mask=0.25,
    irony=0.15,
    strength=1.5,
)
CONFIG = PlantedConfig(acoustic=8, visual=6)
SETS = [
    Information("u"),
    Information("u", "u"),
    Information("a"),
    Information("uv", "u"),
    Information("uav"),
    Information("uav", "u"),
    Information("uav", "uav"),
    Information("av", "av"),
    Information("uav", "av"),
]
SPEAKERS = ["ab", "aba", "abca", "aabb"]


def conversation(speakers, seed):
    """A random conversation with texts that the rules can produce and features anywhere."""
    random = np.random.default_rng(seed)
    names = {letter: planted.SPEAKERS[index] for index, letter in enumerate("abcd")}
    texts = [*REPLIES[:1], "the.", "furious.", "glad house.", "lonely crying a.", "was it.", "wow hate.", "list."]
    turns = tuple(
        Turn(str(i), names[speaker], str(random.choice(texts)), label="joy") for i, speaker in enumerate(speakers)
    )
    features = {
        "acoustic": random.normal(planted.ACOUSTIC_OFFSET, planted.ACOUSTIC_SCALE, (len(turns), 8)),
        "visual": random.normal(size=(len(turns), 6)),
    }
    return Conversation("c", turns, {name: matrix.astype(np.float32) for name, matrix in features.items()})


def brute_force(conversation, information):
    """Sums the joint probability of every path of states, kinds and shown emotions, written from the rules alone."""
    turns, rules = conversation.turns, RULES_HERE
    result = np.zeros((len(turns), 5))
    local = [turn_laws(conversation, i, information.modalities) for i in range(len(turns))]
    past = [turn_laws(conversation, i, information.remembered) for i in range(len(turns))]
    for last in range(len(turns)):
        for states in itertools.product(range(5), repeat=last + 1):
            p = 1.0
            for i, state in enumerate(states):
                p *= step(turns, states, i, state, rules)
                if i < last:
                    p *= sum(law for _, law in past[i][state])
            for label, law in local[last][states[-1]]:
                result[last, label] += p * law
    return result / result.sum(axis=1, keepdims=True)


def step(turns, states, i, state, rules):
    """The probability of a state given those before it."""
    own = [j for j in range(i) if turns[j].speaker == turns[i].speaker]
    others = [j for j in range(i) if turns[j].speaker != turns[i].speaker]
    p, left = 0.0, 1.0
    if own:
        p += rules.inertia * (states[own[-1]] == state)
        left *= 1 - rules.inertia
    if others:
        p += left * rules.contagion * (states[others[-1]] == state)
        left *= 1 - rules.contagion
    return p + left * rules.fresh[state]


def turn_laws(conversation, i, modalities):
    """For every state: (label, probability of kind, shown emotion and observations) of every kind and shown emotion."""
    rules, turn = RULES_HERE, conversation.turns[i]
    acoustic = (conversation.features["acoustic"][i].astype(float) - 5) / 3
    visual = conversation.features["visual"][i].astype(float)
    voices, faces = (1.5 * planted.prototypes(size, name) for size, name in ((8, "acoustic"), (6, "visual")))
    plain = 1 - 0.2 - 0.1 - 0.25 - 0.15
    opposite = [0, 3, 4, 1, 2]  # joy and anger, sadness and surprise
    result = []
    for state in range(5):
        entries = []
        for shown in range(5):
            for share, voice, face, label, burst in (
                (plain, 0 * voices[0], 0 * faces[0], state, False),
                (0.2, voices[shown], 0 * faces[0], shown, True),
                (0.1, 0 * voices[0], faces[shown], shown, True),
                (0.25, voices[5], faces[shown], state, False),
                (0.15, voices[6], 0 * faces[0], opposite[state], False),
            ):
                p = share * rules.fresh[shown]
                if "u" in modalities:
                    p *= text_probability(turn.text, state, burst)
                if "a" in modalities:
                    p *= math.exp(-0.5 * ((acoustic - voice) ** 2).sum())
                if "v" in modalities:
                    p *= math.exp(-0.5 * ((visual - face) ** 2).sum())
                entries.append((label, p))
        result.append(entries)
    return result


def text_probability(text, state, burst):
    if text in REPLIES:
        return 0.2 / 3
    p = 0.8 / 3  # three lengths
    for word in text[:-1].split():
        if word in FILLERS:
            p *= (1.0 if burst else 0.45) / 20
        elif burst:
            return 0.0
        else:
            (of,) = [index for index, name in enumerate(NAMES) if word in CUES[name]]
            p *= 0.55 * (0.6 if of == state else 0.4 / 4) / 6
    return p


@pytest.mark.parametrize("information", SETS, ids=str)
@pytest.mark.parametrize("speakers", SPEAKERS)
def test_equals_brute_force(speakers, information):
    config = dataclasses.replace(CONFIG, speakers=max(2, len(set(speakers))))
    for seed in range(3):
        one = conversation(speakers, seed)
        found = posteriors(one, config, information, RULES_HERE)
        np.testing.assert_allclose(found, brute_force(one, information), rtol=0, atol=1e-10)
    assert found.shape == (len(speakers), 5) and found.std(axis=0).max() > 1e-3


def test_a_third_person_who_never_speaks_changes_nothing():
    one = conversation("abab", 0)
    information = Information("uav", "u")
    few, many = (
        posteriors(one, dataclasses.replace(CONFIG, speakers=count), information, RULES_HERE) for count in (2, 4)
    )
    np.testing.assert_allclose(few, many, atol=1e-12)


@pytest.fixture(scope="module")
def generated():
    config = PlantedConfig(train=0, dev=0, test=250)
    return config, generate(config).splits["test"]


def test_earlier_voices_and_faces_say_nothing_given_the_texts(generated):
    config, conversations = generated
    for one in conversations[:20]:
        without, with_past = (posteriors(one, config, Information("uav", remembered)) for remembered in ("u", "uav"))
        np.testing.assert_allclose(without, with_past, atol=1e-12)


def test_the_state_is_distributed_as_fresh_at_every_turn(generated):
    config, conversations = generated
    rules = dataclasses.replace(RULES, irony=0.0)  # with it the labels are no longer the states
    for one in conversations[:5]:
        found = posteriors(one, config, Information(""), rules)
        np.testing.assert_allclose(found, np.broadcast_to(RULES.fresh, found.shape), atol=1e-12)


def test_more_information_is_worth_more_and_the_expectation_is_met(generated):
    config, conversations = generated
    sets = [
        Information(""),
        Information("u"),
        Information("u", "u"),
        Information("ua", "u"),
        Information("uav", "u"),
    ]
    optima = [optimal_accuracy(conversations, config, information) for information in sets]
    for less, more in itertools.pairwise(optima):
        assert more.accuracy > less.accuracy + 0.03 and more.expected > less.expected + 0.03
    turns = sum(map(len, conversations))
    for optimum in optima:
        deviation = math.sqrt(optimum.expected * (1 - optimum.expected) / turns)
        assert abs(optimum.accuracy - optimum.expected) < 4 * deviation


@pytest.mark.parametrize("text", ["yeah", "hello there.", "the the the the the the the the the.", "", "the  a it."])
def test_a_text_that_the_rules_cannot_produce_is_refused(text):
    one = Conversation("c", (Turn("0", "ann", text, label="joy"),), conversation("a", 0).features)
    with pytest.raises(ValueError, match="expected a text that the rules can produce, found"):
        posteriors(one, CONFIG, Information("u", "u"))
