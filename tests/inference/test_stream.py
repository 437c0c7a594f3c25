"""Live conversations: turn by turn what the whole conversation gives."""

import concurrent.futures
import dataclasses
import logging

import jax
import numpy as np
import pytest

from dtrm_jax.conversation import ValueSpace
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.inference.compiled import make_inspect
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.models import ARCHITECTURES
from tests.fusions import KINDS
from tests.inference.test_predictor import conversations, numbers
from tests.own_model import BagOfWords
from tests.trained import multimodal, random_trained

DEEP = {"model__intra_modal__layers": 2, "tokens__window": 2}


def streamed(predictor, conversation, stream=None):
    """Adds every turn of a conversation."""
    stream = stream or predictor.stream(conversation.id, insides=True)
    result = []
    for index, turn in enumerate(conversation.turns):
        features = {name: matrix[index] for name, matrix in conversation.features.items()}
        result.append(stream.add(turn.speaker, turn.text, features, id=turn.id))
    return result


def absent_somewhere(turns: int):
    """A conversation in which every modality is absent somewhere, and all of them at once."""
    absent = [(1, "acoustic"), (0, "visual"), (3, "acoustic"), (3, "visual"), (4, "visual")]
    return conversations(turns, absent=absent)[0]


def assert_streams(predictor, conversation):
    """Turn by turn is as the whole, and the turns differ, so that this means something."""
    expected, found = predictor.predict(conversation, insides=True), streamed(predictor, conversation)
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=0, atol=1e-5)
    assert [(turn.conversation, turn.turn, turn.label) for turn in found] == [
        (turn.conversation, turn.turn, turn.label) for turn in expected
    ]
    assert np.abs(np.diff(numbers(expected), axis=0)).max(axis=1).min() > 1e-4
    for one, whole in zip(found, expected, strict=True):
        assert one.insides == pytest.approx(whole.insides, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_fusion_streams(kind):
    config = multimodal(model__fusion__kind=kind, model__intra_modal__turn_distance="learned", **DEEP)
    assert_streams(Predictor(random_trained(config)), absent_somewhere(12))


CONTEXTS = ("utterance", "acoustic", "visual")


@pytest.mark.parametrize(
    ("modalities", "settings"),
    [
        ("u", {}),
        ("u", {"model__encoder__pooling": "mean", "model__intra_modal__turn_distance": "learned"}),
        ("u", {"tokens__segments": False, "tokens__separator": False}),
        ("u", {"tokens__indi_context": False, "model__context__utterance": "free"}),
        ("u", {"tokens__window": 0, "tokens__max_length": 9}),
        ("u", {"tokens__speaker_names": True, "model__intra_modal__layers": 0}),
        ("a", {"model__context__acoustic": "dependent"}),
        ("ua", {"model__utterance": "features", "model__context__acoustic": "dependent"}),
        ("av", {f"model__context__{name}": "dependent" for name in CONTEXTS}),
        ("uv", {f"model__context__{name}": "free" for name in CONTEXTS}),
    ],
)
def test_every_setting_streams(modalities, settings):
    config = multimodal(modalities, **{**DEEP, **settings})
    assert_streams(Predictor(random_trained(config)), absent_somewhere(9))


@pytest.fixture(scope="module")
def predictor():
    return Predictor(random_trained(multimodal("u", **DEEP)))


def test_real_values_stream():
    predictor = Predictor(random_trained(multimodal("av"), labels=ValueSpace(("valence", "power"))))
    found = streamed(predictor, conversations(5)[0])
    assert found[0].label is None and tuple(found[0].values) == ("valence", "power")
    np.testing.assert_allclose(numbers(found), numbers(predictor.predict(conversations(5)[0])), rtol=0, atol=1e-5)


def test_the_insides_are_those_of_an_evaluation():
    trained = random_trained(multimodal(**DEEP))
    conversation, predictor = absent_somewhere(12), Predictor(trained)
    shape = trained.manifest.shape
    examples = make_examples(
        [conversation], trained.manifest.labels, trained.tokenizer, trained.normalization, trained.config
    )
    _, expected = make_inspect(trained.model(shape), trained.task)(trained.params, build_pack(examples, shape))
    assert {"attended_turn_u", "attended_weight_v", "gate_ua", "fusion_e_CLS"} <= expected.keys()
    for index, turn in enumerate(predictor.predict(conversation, insides=True)):
        there = {name: float(x[index]) for name, x in expected.items() if not np.isnan(x[index])}
        assert turn.insides == pytest.approx(there, abs=1e-5)
    assert predictor.predict(conversation)[0].insides is None
    assert predictor.stream().add("A", "w5").insides is None


def test_what_is_kept_is_bounded_by_the_window(predictor):
    stream, (conversation,) = predictor.stream(), conversations(20)
    sizes = []
    for turn in conversation.turns:
        stream.add(turn.speaker, turn.text)
        kept = jax.tree.leaves(stream._memory)
        sizes.append((len(stream._window), sum(leaf.size for leaf in kept), len(kept)))
    assert sizes[1:] == [(2, sizes[0][1], DEEP["model__intra_modal__layers"] * 5)] * 19
    stream.add("A", "w9 " * 500)
    assert len(stream._window[-1][1]) == predictor.trained.config.tokens.max_length


def test_many_conversations_go_on_side_by_side_and_in_threads(predictor):
    given = conversations(7, 4, 9, 6, 8, seed=3)
    expected = [numbers(turns) for turns in predictor.predict(given)]
    streams = [predictor.stream() for _ in given]
    found = [[] for _ in given]
    for index in range(9):  # in turns
        for stream, conversation, turns in zip(streams, given, found, strict=True):
            if index < len(conversation):
                turn = conversation.turns[index]
                turns.append(stream.add(turn.speaker, turn.text))
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        apart = list(threads.map(lambda conversation: streamed(predictor, conversation), given * 3))
    for number, turns in enumerate([*found, *apart]):
        np.testing.assert_allclose(numbers(turns), expected[number % 5], rtol=0, atol=1e-5)


def test_a_stream_that_is_reset_begins_anew(predictor):
    stream, (conversation,) = predictor.stream("c0"), conversations(6)
    first = streamed(predictor, conversation, stream)
    on = streamed(predictor, conversation, stream)
    stream.reset()
    assert streamed(predictor, conversation, stream) == first
    assert np.abs(numbers(on)[0] - numbers(first)[0]).max() > 1e-4
    assert stream.add("A", "w5").turn == "7"


def test_a_length_is_compiled_once(predictor, caplog):
    def compiled(words):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
            predictor.stream().add("A", " ".join(["w5"] * words))
        return [record.getMessage() for record in caplog.records if "XLA compilation" in record.getMessage()]

    compiled(3), compiled(20)
    assert not any(compiled(words) for words in range(1, 27))
    assert len({shape for shape, insides in predictor._programs._step if not insides}) <= 2


@pytest.mark.parametrize("insides", [False, True])
def test_after_a_warm_up_no_turn_waits(caplog, insides):
    predictor = Predictor(random_trained(multimodal("u", **DEEP)))
    predictor.warm_up(insides=insides)
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        stream = predictor.stream(insides=insides)
        for words in range(1, 40):
            stream.add("A", "w5 " * words)
    assert not [record.getMessage() for record in caplog.records if "XLA compilation" in record.getMessage()]


def test_after_a_warm_up_no_conversation_waits(caplog):
    predictor = Predictor(random_trained(multimodal("u", **DEEP)))
    predictor.warm_up_packs(insides=True)
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        for turns in (1, 6, 20):
            predictor.predict(conversations(turns), insides=True)
    assert not [record.getMessage() for record in caplog.records if "XLA compilation" in record.getMessage()]


def test_threads_may_add_to_one_conversation(predictor):
    stream = predictor.stream()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: stream.add("A", f"w{5 + number % 20}"), range(80)))
    assert {turn.turn for turn in found} == {str(number) for number in range(1, 81)}


def test_a_refused_turn_is_not_part_of_the_conversation(predictor):
    stream, (conversation,) = predictor.stream("c0"), conversations(5)
    found = streamed(predictor, dataclasses.replace(conversation, turns=conversation.turns[:3], features={}), stream)
    for speaker, text, message in (
        ("", "w5", "conversation c0, turn 4: expected the name of a speaker, found nothing"),
        ("A", " ", "conversation c0, turn 4: expected a text, found an empty one"),
        ("A", None, "conversation c0, turn 4: expected a text, found nothing"),
    ):
        with pytest.raises(InputError, match=message):
            stream.add(speaker, text)
    for turn in conversation.turns[3:]:
        found.append(stream.add(turn.speaker, turn.text))
    np.testing.assert_allclose(numbers(found), numbers(predictor.predict(conversation)), rtol=0, atol=1e-5)


def test_a_model_that_reads_no_text_needs_features():
    stream = Predictor(random_trained(multimodal("av"))).stream()
    with pytest.raises(InputError, match="turn 1: expected 5 acoustic or 3 visual features, .* found none"):
        stream.add("A", "hello")
    with pytest.raises(InputError, match="turn 1: expected 3 visual features, found 2"):
        stream.add("A", "hello", {"visual": [1.0, 2.0]})
    with pytest.raises(InputError, match="turn 1: expected features by modality, found list"):
        stream.add("A", "hello", [1.0, 2.0, 3.0])
    assert stream.add("A", "", {"visual": [1.0, 2.0, 3.0]}).turn == "1"
    assert stream.add("A", "hello", {}).turn == "2"


def test_a_model_that_looks_ahead_is_refused():
    predictor = Predictor(random_trained(multimodal("u", tokens__future=1)))
    with pytest.raises(InputError, match=r"^random: a live conversation needs a causal model, .*tokens\.future is 1"):
        predictor.stream()
    (conversation,) = conversations(70)
    found = numbers(predictor.predict(conversation))  # longer than the largest shape
    begun = dataclasses.replace(conversation, turns=conversation.turns[:20], features={})
    np.testing.assert_allclose(numbers(predictor.predict(begun))[:15], found[:15], rtol=0, atol=1e-6)
    assert np.abs(numbers(predictor.predict(begun))[19] - found[19]).max() > 1e-4


def test_a_model_of_ones_own_says_that_it_streams(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "bag_of_words", BagOfWords)
    predictor = Predictor(random_trained(multimodal("u", model__architecture="bag_of_words")))
    with pytest.raises(InputError, match="config.model.architecture: bag_of_words cannot go on from turn to turn"):
        predictor.stream()
    monkeypatch.setattr(BagOfWords, "streams", True)
    assert_streams(predictor, conversations(7)[0])
