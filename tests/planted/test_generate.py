"""The planted dialogues follow their written rules."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dtrm_jax import planted as package
from dtrm_jax.config import PlantedConfig
from dtrm_jax.errors import InputError
from dtrm_jax.planted import rules as planted
from dtrm_jax.planted.rules import CUES, FILLERS, LEXICON, PLANTED_LABELS, REPLIES, RULES, Rules

NAMES = PLANTED_LABELS.names
FRESH = dict(zip(NAMES, RULES.fresh, strict=True))
PROBE = "from tests.planted.test_generate import fingerprint; print(fingerprint())"


def generate(rules=RULES, **settings):
    return package.generate(PlantedConfig(**{"train": 7, "dev": 5, "test": 3, **settings}), rules)


def fingerprint():
    dataset = generate()
    arrays = [c.features[name].tobytes() for split in dataset.splits.values() for c in split for name in c.features]
    texts = repr([c.turns for split in dataset.splits.values() for c in split])
    return hashlib.sha256(texts.encode() + b"".join(arrays)).hexdigest()


# Without bursts and masks the labels are the states, which can then be counted.
STATES = dataclasses.replace(RULES, voice_burst=0.0, face_burst=0.0, mask=0.0, irony=0.0)


@pytest.fixture(scope="module", params=[2, 3])
def many(request):
    return generate(STATES, train=800, turns=13, speakers=request.param).splits["train"]


@pytest.fixture(scope="module")
def clear():
    """Turns of the usual rules, but with features so strong that the kind of every turn can be read off."""
    rules = dataclasses.replace(RULES, strength=100.0)
    conversations = generate(rules, train=800, turns=13).splits["train"]
    found = []
    for conversation in conversations:
        voice, face = (shown(conversation.features[name], name) for name in ("acoustic", "visual"))
        found += zip(conversation.turns, voice, face, strict=True)
    return found


def shown(matrix, modality):
    """Returns what each row shows, with a margin that noise cannot cross."""
    if modality == "acoustic":
        matrix = (matrix - planted.ACOUSTIC_OFFSET) / planted.ACOUSTIC_SCALE
    projected = matrix @ planted.prototypes(matrix.shape[1], modality).T / 100
    nearest = np.where(projected.max(axis=1) > 0.5, projected.argmax(axis=1), planted.NOTHING)
    assert (np.abs(np.sort(projected, axis=1)[:, -1] - (nearest != planted.NOTHING)) < 0.1).all()
    return nearest.tolist()


def kind_of(voice, face):
    if voice in (planted.FLAT, planted.IRONIC):
        return planted.MASK if voice == planted.FLAT else planted.IRONY
    return {(False, False): planted.PLAIN, (True, False): planted.VOICE_BURST, (False, True): planted.FACE_BURST}[
        (voice != planted.NOTHING, face != planted.NOTHING)
    ]


def test_turns_are_of_each_kind_as_often_as_the_rules_say(clear):
    kinds = [kind_of(voice, face) for _, voice, face in clear]
    for kind, probability in enumerate((0.49, RULES.voice_burst, RULES.face_burst, RULES.mask, RULES.irony)):
        assert_frequency([found == kind for found in kinds], [probability] * len(kinds))


def test_a_burst_is_what_voice_or_face_show_and_is_not_put_into_words(clear):
    bursts = [(turn, max(voice, face)) for turn, voice, face in clear if kind_of(voice, face) in (1, 2)]
    assert all(NAMES[emotion] == turn.label for turn, emotion in bursts)
    words = [word for turn, _ in bursts if turn.text not in REPLIES for word in turn.text[:-1].split()]
    assert set(words) == set(FILLERS)
    assert_frequency([turn.text in REPLIES for turn, _ in bursts], [RULES.reply] * len(bursts))
    for name in NAMES:
        assert_frequency([turn.label == name for turn, _ in bursts], [FRESH[name]] * len(bursts))


def test_a_mask_shows_an_emotion_that_says_nothing(clear):
    masks = [(turn, face) for turn, voice, face in clear if voice == planted.FLAT]
    for index, name in enumerate(NAMES):
        assert_frequency([face == index for _, face in masks], [FRESH[name]] * len(masks))
        chosen = [turn.label == name for turn, face in masks if face == index]
        assert abs(np.mean(chosen) - FRESH[name]) < 5 * np.sqrt(FRESH[name] / len(chosen))


def test_irony_means_the_opposite_of_what_the_words_say():
    rules = dataclasses.replace(STATES, irony=1.0, reply=0.0, cue=1.0, wrong_cue=0.0, strength=100.0)
    opposite = {"neutral": "neutral", "joy": "anger", "sadness": "surprise", "anger": "joy", "surprise": "sadness"}
    seen = set()
    for conversation in generate(rules, train=60).splits["train"]:
        assert set(shown(conversation.features["acoustic"], "acoustic")) == {planted.IRONIC}
        assert set(shown(conversation.features["visual"], "visual")) == {planted.NOTHING}
        for turn in conversation.turns:
            (said,) = {name for name in NAMES for word in turn.text[:-1].split() if word in CUES[name]}
            assert turn.label == opposite[said]
            seen.add(said)
    assert seen == set(NAMES)


def test_states_go_on_under_bursts():
    """A burst does not count in the history: without it, inertia alone keeps a speaker's label for good."""
    rules = dataclasses.replace(RULES, inertia=1.0, strength=100.0)
    for conversation in generate(rules, train=60).splits["train"]:
        voice, face = (shown(conversation.features[name], name) for name in ("acoustic", "visual"))
        lasting = {}
        for turn, v, f in zip(conversation.turns, voice, face, strict=True):
            if kind_of(v, f) in (planted.PLAIN, planted.MASK):
                lasting.setdefault(turn.speaker, set()).add(turn.label)
        # Until the first lasting turn of a speaker, contagion may have passed unseen; after it the state stays.
        assert all(len(labels) == 1 for labels in lasting.values())


def test_features_are_noise_of_deviation_1_around_the_prototypes():
    splits = generate(train=800, turns=13, acoustic=9, visual=7).splits["train"]
    plain = dataclasses.replace(STATES, mask=1.0)
    masked = generate(plain, train=800, turns=13, acoustic=9, visual=7).splits["train"]
    acoustic = np.concatenate([conversation.features["acoustic"] for conversation in masked])
    drawn = (acoustic - planted.ACOUSTIC_OFFSET) / planted.ACOUSTIC_SCALE
    center = RULES.strength * planted.prototypes(9, "acoustic")[planted.FLAT]
    np.testing.assert_allclose(drawn.mean(axis=0), center, atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(9), atol=0.08)
    assert {(c.features["acoustic"].shape[1], c.features["visual"].shape[1]) for c in splits} == {(9, 7)}
    assert {matrix.dtype for c in splits for matrix in c.features.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("size", [1, 4, 7, 12])
def test_prototypes_are_unit_vectors_and_orthogonal_where_there_is_room(size):
    acoustic, visual = (planted.prototypes(size, name) for name in ("acoustic", "visual"))
    assert acoustic.shape == (7, size)
    np.testing.assert_allclose(np.linalg.norm(acoustic, axis=1), 1)
    if size >= 7:
        np.testing.assert_allclose(acoustic @ acoustic.T, np.eye(7), atol=1e-12)
    assert size == 1 or not np.allclose(acoustic, visual)


def histories(conversations):
    """Yields every turn with its speaker's previous state and that of the last turn by anybody else."""
    for conversation in conversations:
        latest = []  # (speaker, emotion), the most recent speaker last
        for turn in conversation.turns:
            own = [emotion for speaker, emotion in latest if speaker == turn.speaker]
            others = [emotion for speaker, emotion in latest if speaker != turn.speaker]
            yield turn, own[0] if own else None, others[-1] if others else None
            latest = [entry for entry in latest if entry[0] != turn.speaker] + [(turn.speaker, turn.label)]


def assert_frequency(hits, probabilities):
    """Checks a count of successes against its mean, within 4 standard deviations of the sum of Bernoulli draws."""
    probabilities = np.asarray(probabilities, dtype=float)
    assert len(hits) == len(probabilities) > 200
    deviation = np.sqrt((probabilities * (1 - probabilities)).sum())
    assert abs(np.sum(hits) - probabilities.sum()) < 4 * deviation


def test_a_speaker_keeps_the_own_emotion_as_often_as_the_rules_say(many):
    # Where the other's emotion differs, keeping it comes from inertia or from a fresh draw that happens to agree.
    cases = [(turn.label == own, own) for turn, own, other in histories(many) if own and other and own != other]
    leftover = (1 - RULES.inertia) * (1 - RULES.contagion)
    assert_frequency([hit for hit, _ in cases], [RULES.inertia + leftover * FRESH[own] for _, own in cases])


def test_a_speaker_takes_the_others_emotion_as_often_as_the_rules_say(many):
    cases = [(turn.label == other, other) for turn, own, other in histories(many) if own and other and own != other]
    leftover = (1 - RULES.inertia) * (1 - RULES.contagion)
    contagion = (1 - RULES.inertia) * RULES.contagion
    assert_frequency([hit for hit, _ in cases], [contagion + leftover * FRESH[other] for _, other in cases])


def test_a_speakers_first_turn_is_open_to_contagion_alone(many):
    cases = [(turn.label == other, other) for turn, own, other in histories(many) if not own and other]
    expected = [RULES.contagion + (1 - RULES.contagion) * FRESH[other] for _, other in cases]
    assert_frequency([hit for hit, _ in cases], expected)


def test_the_first_turn_is_drawn_afresh(many):
    first = [conversation.turns[0].label for conversation in many]
    for name in NAMES:
        assert_frequency([label == name for label in first], [FRESH[name]] * len(first))


def test_texts_are_replies_or_words_as_often_as_the_rules_say(many):
    turns = [turn for conversation in many for turn in conversation.turns]
    assert_frequency([turn.text in REPLIES for turn in turns], [RULES.reply] * len(turns))
    for reply in REPLIES:
        assert_frequency([turn.text == reply for turn in turns], [RULES.reply / 3] * len(turns))
    lengths = [len(turn.text.split()) for turn in turns if turn.text not in REPLIES]
    for length in range(3, 9):
        assert_frequency([found == length for found in lengths], [1 / 6] * len(lengths))
    words = [(turn.label, word) for turn in turns if turn.text not in REPLIES for word in turn.text[:-1].split()]
    assert_frequency([word in FILLERS for _, word in words], [1 - RULES.cue] * len(words))
    cues = [(label, word) for label, word in words if word not in FILLERS]
    assert_frequency([word not in CUES[label] for label, word in cues], [RULES.wrong_cue] * len(cues))


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_speakers_mostly_alternate(speakers):
    conversations = generate(train=300, speakers=speakers).splits["train"]
    pairs = [(a.speaker, b.speaker) for c in conversations for a, b in zip(c.turns[:-1], c.turns[1:], strict=True)]
    assert_frequency([a == b for a, b in pairs], [RULES.same_speaker] * len(pairs))
    share = (1 - RULES.same_speaker) / (speakers - 1)
    for name in planted.SPEAKERS[:speakers]:
        others = [b for a, b in pairs if a != name]
        assert_frequency([b == name for b in others], [share] * len(others))
    assert {name for pair in pairs for name in pair} == set(planted.SPEAKERS[:speakers])


@pytest.mark.parametrize(("mean", "shortest", "longest"), [(1, 1, 1), (2, 1, 3), (7, 4, 10), (12, 6, 18)])
def test_lengths_vary_around_the_mean(mean, shortest, longest):
    lengths = [len(conversation) for conversation in generate(train=400, turns=mean).splits["train"]]
    assert (min(lengths), max(lengths)) == (shortest, longest)
    variance = ((longest - shortest + 1) ** 2 - 1) / 12  # of a uniform law
    assert abs(np.mean(lengths) - mean) <= 4 * np.sqrt(variance / len(lengths))


def test_transition_by_hand():
    rules = Rules(inertia=0.5, contagion=0.25, fresh=(0.4, 0.3, 0.2, 0.1, 0.0))
    assert planted.transition(None, None, rules).tolist() == [0.4, 0.3, 0.2, 0.1, 0.0]
    np.testing.assert_allclose(planted.transition(1, None, rules), [0.2, 0.65, 0.1, 0.05, 0.0])
    np.testing.assert_allclose(planted.transition(None, 3, rules), [0.3, 0.225, 0.15, 0.325, 0.0])
    np.testing.assert_allclose(planted.transition(1, 3, rules), [0.15, 0.6125, 0.075, 0.1625, 0.0])
    np.testing.assert_allclose(planted.transition(2, 2, rules), [0.15, 0.1125, 0.7, 0.0375, 0.0])


def test_word_probabilities_by_hand():
    rules = Rules(cue=0.6, wrong_cue=0.2)
    law = dict(zip(LEXICON, planted.word_probabilities(NAMES.index("anger"), rules), strict=True))
    assert law["furious"] == pytest.approx(0.6 * 0.8 / 6)
    assert law["wonderful"] == law["usual"] == pytest.approx(0.6 * 0.2 / 4 / 6)
    assert law["street"] == pytest.approx(0.4 / 20)
    assert sum(law.values()) == pytest.approx(1)
    burst = dict(zip(LEXICON, planted.word_probabilities(None, rules), strict=True))
    assert burst["furious"] == 0 and burst["street"] == pytest.approx(1 / 20)


def test_next_speaker_by_hand():
    rules = Rules(same_speaker=0.1)
    np.testing.assert_allclose(planted.next_speaker(None, 4, rules), [0.25] * 4)
    np.testing.assert_allclose(planted.next_speaker(1, 2, rules), [0.9, 0.1])
    np.testing.assert_allclose(planted.next_speaker(2, 4, rules), [0.3, 0.3, 0.1, 0.3])


def test_influences_are_the_own_and_the_last_other_turn():
    speakers = [0, 1, 1, 0, 2, 0, 0]
    expected = [(None, None), (None, 0), (1, 0), (0, 2), (None, 3), (3, 4), (5, 4)]
    assert [planted.influences(speakers, turn) for turn in range(len(speakers))] == expected


def test_every_rule_reaches_the_conversations():
    extremes = {
        "inertia": 0.0,
        "contagion": 0.0,
        "fresh": (0.0, 0.0, 0.0, 0.0, 1.0),
        "reply": 1.0,
        "words": (2, 2),
        "cue": 0.0,
        "wrong_cue": 1.0,
        "same_speaker": 1.0,
        "voice_burst": 0.5,
        "face_burst": 0.5,
        "mask": 0.5,
        "irony": 0.5,
        "strength": 0.0,
    }
    assert extremes.keys() == {field.name for field in dataclasses.fields(Rules)}
    for name, value in extremes.items():
        assert everything(generate(dataclasses.replace(RULES, **{name: value}))) != everything(generate()), name


def everything(dataset):
    """What can be compared: conversations leave their features out of ==."""
    conversations = [conversation for split in dataset.splits.values() for conversation in split]
    return [(c.turns, *(matrix.tolist() for matrix in c.features.values())) for c in conversations]


def test_certain_rules_leave_nothing_to_chance():
    certain = {"inertia": 1.0, "contagion": 1.0, "reply": 0.0, "cue": 1.0, "wrong_cue": 0.0, "same_speaker": 0.0}
    rules = dataclasses.replace(STATES, words=(2, 2), **certain)
    for conversation in generate(rules).splits["train"]:
        assert len({turn.label for turn in conversation.turns}) == 1
        assert all(a.speaker != b.speaker for a, b in zip(conversation.turns, conversation.turns[1:], strict=False))
        for turn in conversation.turns:
            assert len(turn.text.split()) == 2
            assert set(turn.text.removesuffix(".").split()) <= set(CUES[turn.label])


def test_sizes_names_and_ids():
    dataset = generate(dev=0)
    assert dataset.name == "planted"
    assert dataset.labels == PLANTED_LABELS
    assert {split: len(conversations) for split, conversations in dataset.splits.items()} == {"train": 7, "test": 3}
    ids = [conversation.id for conversations in dataset.splits.values() for conversation in conversations]
    assert len(set(ids)) == 10
    for conversation in dataset.splits["train"]:
        assert [turn.id for turn in conversation.turns] == [str(index) for index in range(len(conversation))]


def test_the_same_in_another_process():
    root = Path(__file__).parents[2]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True, cwd=root
        )
        assert done.stdout.strip() == fingerprint()


def test_the_seed_changes_every_conversation():
    for split, conversations in generate(seed=1).splits.items():
        for one, other in zip(generate(seed=2).splits[split], conversations, strict=True):
            assert one.turns != other.turns
            assert (one.features["visual"][0] != other.features["visual"][0]).all()


def test_splits_are_independent():
    small, large = generate(train=2), generate(train=40)
    assert small.splits["dev"] == large.splits["dev"]
    assert small.splits["test"] == large.splits["test"]
    assert small.splits["train"] == large.splits["train"][:2]
    turns = [conversation.turns for conversations in large.splits.values() for conversation in conversations]
    assert len(set(turns)) == len(turns) == 48


def test_each_kind_of_draw_has_its_own_stream():
    usual = generate().splits["train"]
    # Other lengths take another number of draws from the stream of the structure.
    for one, other in zip(usual, generate(turns=41).splits["train"], strict=True):
        assert len(one) != len(other)
        assert (one.turns[0].label, one.turns[0].text) == (other.turns[0].label, other.turns[0].text)
    for one, other in zip(usual, generate(dataclasses.replace(RULES, reply=1.0)).splits["train"], strict=True):
        assert [(turn.speaker, turn.label) for turn in one.turns] == [
            (turn.speaker, turn.label) for turn in other.turns
        ]
        assert one != other


def test_every_word_has_one_meaning():
    replies = {word for reply in REPLIES for word in reply[:-1].split()}
    assert len(set(LEXICON)) == len(LEXICON)
    assert not replies & set(LEXICON)
    assert sum(RULES.fresh) == pytest.approx(1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("acoustic", 0),
        ("visual", 0),
        ("speakers", 1),
        ("speakers", 5),
        ("turns", 0),
        ("train", -1),
        ("seed", -1),
        ("turns", 2.5),
    ],
)
def test_bad_sizes_are_refused(setting, value):
    with pytest.raises(InputError, match=rf"planted\.{setting}: .*found {value}"):
        generate(**{setting: value})
