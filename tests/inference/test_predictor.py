"""``dtrm_jax.load``: the predictions of any conversation, from the trained model alone."""

import dataclasses
import functools
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import dtrm_jax
from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import Conversation, LabelSpace, ValueSpace
from dtrm_jax.data import corpus
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.inference.shapes import cut, grown
from tests.factories import LABELS, make_conversation, random_conversation, sized, with_features
from tests.runs import ROOT, environment, tiny_run_config
from tests.trained import SIZES, multimodal, random_run, random_trained


def numbers(turns) -> np.ndarray:
    return np.array([list((turn.probabilities or turn.values).values()) for turn in turns])


def conversations(*turns: int, seed: int = 0, absent=((1, "acoustic"), (0, "visual"))) -> list[Conversation]:
    random = np.random.default_rng(seed)
    made = [
        with_features(random, random_conversation(random, count), SIZES, [one for one in absent if one[0] < count])
        for count in turns
    ]
    return [dataclasses.replace(one, id=f"c{number}") for number, one in enumerate(made)]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(random_trained(multimodal()))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> tuple[Path, list[Conversation]]:
    """A run with all modalities after its evaluation, without its data and without an optimizer's state."""
    cache = tmp_path_factory.mktemp("cache")
    config = tiny_run_config(cache)
    config.model.modalities, config.model.context.visual = "uav", "dependent"
    config.model.fusion.layers, config.model.fusion.heads, config.model.fusion.feed_forward = 1, 2, 11
    run = random_run(config, tmp_path_factory.mktemp("run"))
    evaluate_run(run)
    split = corpus.load(config.data).splits["test"]
    shutil.rmtree(cache)
    return run.path, list(split)


def test_it_predicts_what_the_evaluation_did_without_corpus_and_optimizer_state(evaluated):
    run, split = evaluated
    predictor = dtrm_jax.load(run)
    assert predictor.trained.step == 7 and predictor.trained.name == "tiny"
    found = [turn for turns in predictor.predict(split) for turn in turns]
    rows, task = predictions.read(run / "eval" / "test" / "predictions.csv")
    assert predictor.labels == task.labels.names
    assert [(turn.conversation, turn.turn, turn.label) for turn in found] == [
        (row.conversation, row.turn, row.prediction) for row in rows
    ]
    np.testing.assert_allclose(numbers(found), [row.probabilities for row in rows], rtol=0, atol=1e-5)


def test_loading_imports_no_part_of_training(evaluated, tmp_path):
    code = (
        f"import sys, dtrm_jax\ndtrm_jax.load({str(evaluated[0])!r})\n"
        "names = 'tensorflow_datasets', 'array_record', 'grain', 'optax', 'scipy', 'pyarrow', 'dtrm_jax.training'\n"
        "print([name for name in names if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=True, timeout=120
    )
    assert found.stdout == "[]\n"


def test_company_and_order_change_nothing(predictor):
    given = conversations(5, 1, 12, 7)
    together = predictor.predict(given)
    assert [[turn.conversation for turn in turns] for turns in together] == [[c.id] * len(c) for c in given]
    backwards = predictor.predict(given[::-1])[::-1]
    for one, turns, others in zip(given, together, backwards, strict=True):
        alone = predictor.predict(one)
        assert [turn.turn for turn in alone] == [turn.id for turn in one.turns]
        np.testing.assert_allclose(numbers(alone), numbers(turns), rtol=0, atol=1e-6)
        np.testing.assert_allclose(numbers(others), numbers(turns), rtol=0, atol=1e-6)


def test_later_turns_change_nothing(predictor):
    (whole,) = conversations(12)
    begun = dataclasses.replace(
        whole, turns=whole.turns[:8], features={name: matrix[:8] for name, matrix in whole.features.items()}
    )
    found, all_turns = numbers(predictor.predict(begun)), numbers(predictor.predict(whole))
    np.testing.assert_allclose(found, all_turns[:8], rtol=0, atol=1e-6)
    assert np.abs(np.diff(all_turns, axis=0)).max(axis=1).min() > 1e-4, "the turns must differ for this to mean much"


def test_every_form_of_a_conversation_says_the_same(predictor):
    (given,) = conversations(6, absent=[(turn, name) for turn in range(6) for name in ("acoustic", "visual")])
    expected = numbers(predictor.predict(given))
    pairs = [(turn.speaker, turn.text) for turn in given.turns]
    dicts = [{"speaker": speaker, "text": text, "label": "?"} for speaker, text in pairs]
    without = dataclasses.replace(given, features={})
    for form in (pairs, [list(pair) for pair in pairs], tuple(pairs), dicts, without):
        np.testing.assert_array_equal(numbers(predictor.predict(form)), expected)
        (turns,) = predictor.predict([form])
        np.testing.assert_array_equal(numbers(turns), expected)
    (turns,) = predictor.predict(iter([pairs]))
    assert [(turn.conversation, turn.turn) for turn in turns] == [("1", str(place)) for place in range(1, 7)]
    assert predictor.predict([]) == []


def test_features_of_dicts_are_those_of_conversations(predictor):
    (given,) = conversations(5)
    dicts = [
        {
            "speaker": turn.speaker,
            "text": turn.text,
            "id": turn.id,
            "acoustic": given.features["acoustic"][index].tolist(),  # NaN where the turn lacks it
            "visual": None if index == 0 else given.features["visual"][index],
        }
        for index, turn in enumerate(given.turns)
    ]
    found = predictor.predict(dicts)
    np.testing.assert_array_equal(numbers(found), numbers(predictor.predict(given)))
    assert [turn.turn for turn in found] == [turn.id for turn in given.turns]
    less = predictor.predict([{**turn, "visual": None} for turn in dicts])
    assert np.abs(numbers(less) - numbers(found)).max() > 1e-3


def test_labels_are_not_looked_at(predictor):
    (given,) = conversations(4)
    other = dataclasses.replace(
        given, turns=tuple(dataclasses.replace(turn, label="no such emotion") for turn in given.turns)
    )
    assert predictor.predict(other) == predictor.predict(given)
    turn = predictor.predict(given)[0]
    assert turn.values is None and tuple(turn.probabilities) == LABELS.names
    assert turn.label == max(turn.probabilities, key=turn.probabilities.get)
    assert sum(turn.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_real_values():
    labels = ValueSpace(("valence", "power"))
    trained = random_trained(multimodal("av"), labels=labels)
    (given,) = conversations(5)
    found = Predictor(trained).predict(given)
    assert all(turn.label is turn.probabilities is None and tuple(turn.values) == labels.names for turn in found)
    assert np.abs(np.diff(numbers(found), axis=0)).min() > 1e-5


def test_fifty_conversations_of_different_sizes_compile_nothing_new(caplog):
    predictor = Predictor(random_trained(multimodal("u")))
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        for turns in ([2], [12], [9] * 20):
            predictor.predict(conversations(*turns))
        compiled = [record for record in caplog.records if "XLA compilation of jit(predict)" in record.getMessage()]
        assert 2 <= len(compiled) <= 4
        caplog.clear()
        for turns in range(1, 26):
            predictor.predict(conversations(turns, seed=turns))
            predictor.predict(conversations(turns, 3, turns, seed=turns))
    assert not [record.getMessage() for record in caplog.records if "XLA compilation" in record.getMessage()]


def test_packs_that_are_asked_for_one_by_one_say_the_same(predictor):
    given = conversations(3, 30, 1, 12, 40, 8)
    waiting, found = predictor.prepare(given), {}
    while waiting:
        pack = predictor.next_pack(waiting)
        assert 0 in pack.members
        for place, turns in zip(pack.members, predictor.predict_pack(waiting, pack), strict=True):
            found[waiting[place].conversation.id] = turns
        waiting = [one for place, one in enumerate(waiting) if place not in pack.members]
    for one, turns in zip(given, predictor.predict(given), strict=True):
        assert [turn.turn for turn in found[one.id]] == [turn.id for turn in one.turns]
        np.testing.assert_allclose(numbers(found[one.id]), numbers(turns), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("modalities", "rows", "settings"),
    [
        ("u", ((16, 16), (32, 8)), {"model__intra_modal__turn_distance": "learned"}),
        # Packs that are full of tokens before they are full of turns.
        ("uav", ((32, 8),), {"model__fusion__kind": "mult", "model__fusion__layers": 1, "model__encoder__layers": 1}),
    ],
)
def test_a_conversation_longer_than_the_largest_shape_is_one_whole(modalities, rows, settings):
    trained = random_trained(multimodal(modalities, **settings), rows=rows)
    predictor = Predictor(trained)
    absent = [(turn, name) for turn in range(3, 75, 4) for name in ("acoustic", "visual")]
    given, *short = conversations(75, 4, 5, absent=absent)
    found = predictor.predict([short[0], given, short[1]])
    (example,) = make_examples([given], LABELS, trained.tokenizer, trained.normalization, trained.config)
    lengths = [len(run) for run, _ in cut(example, predictor._ladder[-1])]
    assert sum(lengths) == 75
    assert (max(lengths) == 32) == (modalities == "u")
    shape = grown(trained.manifest.shape, example)
    assert shape.utterances == 128
    apply = jax.jit(functools.partial(trained.model(shape).apply, deterministic=True))
    whole = apply({"params": trained.params}, build_pack([example], shape))
    np.testing.assert_allclose(numbers(found[1]), jax.nn.softmax(whole)[:75], rtol=0, atol=1e-5)
    for one, turns in zip(short, found[::2], strict=True):
        np.testing.assert_allclose(numbers(turns), numbers(predictor.predict(one)), rtol=0, atol=1e-6)


def test_turns_that_fit_one_by_one_need_not_fit_the_longest_first():
    settings = {"tokens__indi_context": False, "tokens__max_length": 16, "tokens__window": 5}
    trained = random_trained(multimodal("u", **settings), rows=((16, 2),))
    words = [2, 5, 3, 2, 5, 3, 14, 14]  # each sequence has [CLS] and [SEP] besides
    texts = [" ".join(f"w{5 + word}" for word in range(count)) for count in words]
    given = make_conversation("AB" * 4, texts, [None] * len(words))
    (example,) = make_examples([given], LABELS, trained.tokenizer, trained.normalization, trained.config)
    assert example.lengths == [4, 7, 5, 4, 7, 5, 16, 16]
    shape = grown(trained.manifest.shape, example)
    whole = trained.model(shape).apply({"params": trained.params}, build_pack([example], shape), deterministic=True)
    expected = jax.nn.softmax(whole)[: len(given)]
    np.testing.assert_allclose(numbers(Predictor(trained).predict(given)), expected, rtol=0, atol=1e-5)


def test_cutting_a_conversation_looks_at_each_length_once():
    looked = []

    class Counted:
        @property
        def lengths(self):
            looked.append(1)
            return [3] * 500

    runs = [run for run, _ in cut(Counted(), PackShape(((8, 3),), 16))]
    assert sum(map(len, runs)) == 500 and len(looked) == 1


def test_more_own_tokens_than_in_training_are_no_obstacle():
    config = multimodal("u", model__encoder__pooling="mean")
    given = conversations(*[9] * 6)
    expected = Predictor(random_trained(config)).predict(given)
    found = Predictor(random_trained(config, own_tokens=16)).predict(given)
    for turns, others in zip(found, expected, strict=True):
        np.testing.assert_allclose(numbers(turns), numbers(others), rtol=0, atol=1e-6)


def test_a_sequence_that_no_row_holds_is_a_defect():
    with pytest.raises(ValueError, match="expected sequences that fit into .*, found one of 9 tokens"):
        list(cut(sized(5, 9, 3), PackShape(((8, 3),), 16)))
    with pytest.raises(ValueError, match="found one of 9 tokens"):
        grown(PackShape(((8, 3),), 16), sized(5, 9))


def test_many_conversations_go_block_by_block(predictor, monkeypatch, capsys):
    given = conversations(*[3, 8, 1] * 10)
    expected = [numbers(turns) for turns in predictor.predict(given)]
    monkeypatch.setattr("dtrm_jax.inference.predictor._PACKS_PER_BLOCK", 1)
    taken = []

    def lazily():
        for one in given:
            taken.append(one.id)
            yield one

    blocks = predictor._blocks(map(predictor._wanted.conversation, lazily(), range(30)))
    assert 32 <= sum(map(len, next(blocks))) < 40 and len(taken) < 10
    found = predictor.predict(given, progress=True)
    for turns, others in zip(found, expected, strict=True):
        np.testing.assert_allclose(numbers(turns), others, rtol=0, atol=1e-6)
    assert "30/30" in capsys.readouterr().err


def test_the_longest_sequence_fits(predictor):
    long = [("Ann", "w9 " * 40), ("Bob", "w5"), ("Ann", "w8")]
    assert predictor.trained.config.tokens.max_length == 29
    other = [("Ann", "w9 " * 60), *long[1:]]  # cut at its end
    np.testing.assert_array_equal(numbers(predictor.predict(long)), numbers(predictor.predict(other)))
    narrow = Predictor(random_trained(multimodal(), rows=((16, 16),)))  # no longer sequence was trained on
    np.testing.assert_allclose(numbers(narrow.predict(long)), numbers(predictor.predict(long)), rtol=0, atol=1e-6)


def test_utterance_vectors_are_those_of_the_layer_that_was_trained_on():
    config = multimodal("u", model__utterance="features", data__text_layer=0)
    predictor = Predictor(random_trained(config))
    (given,) = conversations(4)
    second = with_features(np.random.default_rng(5), given, {"utterance": 7}).features["utterance"]
    both = dataclasses.replace(given, features=given.features | {"utterance2": second})
    mean = [{"speaker": "A", "text": "", "utterance": row} for row in (given.features["utterance"] + second) / 2]
    np.testing.assert_allclose(numbers(predictor.predict(both)), numbers(predictor.predict(mean)), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="conversation 1: expected 7 utterance features of its turns, .* found none"):
        predictor.predict([("Ann", "hello")])


PAIR = ("Ann", "w7")
VISUAL = [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([PAIR, ("", "w8")], "conversation 1, turn 2: expected the name of a speaker, found nothing"),
        ([PAIR, {"text": "w8"}], "conversation 1, turn 2: expected the name of a speaker, found nothing"),
        ([PAIR, (None, "w8")], "conversation 1, turn 2: expected the name of a speaker, found nothing"),
        ([PAIR, (3, "w8")], "conversation 1, turn 2: expected the name of a speaker, found 3"),
        ([PAIR, ("Bob", " ")], "conversation 1, turn 2: expected a text, found an empty one"),
        ([PAIR, {"speaker": "Bob"}], "conversation 1, turn 2: expected a text, found an empty one"),
        ([PAIR, ("Bob", 7.5)], "conversation 1, turn 2: expected a text, found 7.5"),
        ([PAIR, ("Bob", "\ud800")], "conversation 1, turn 2: expected a text of Unicode characters, found surrogates"),
        ([PAIR, ("Bob", "w8", "joy")], "conversation 1, turn 2: expected a pair of speaker and text, or a dict"),
        ([PAIR, "w8"], "conversation 1, turn 2: expected a pair of speaker and text, or a dict, found 'w8'"),
        ([PAIR, {"speaker": "Bob", "txt": "w8"}], "turn 2: expected some of speaker, text, id, .*, found 'txt'"),
        ([PAIR, {"speaker": "B", "text": "w8", "id": 1.5}], "expected a name or a whole number as id, found 1.5"),
        ([{"id": 5, "speaker": "A", "text": "w8"}] * 2, "conversation 1: expected distinct turn ids, found '5' twice"),
        ([[PAIR], []], "conversation 2: expected turns, found list"),
        ([[PAIR], [PAIR, ("Bob", "")]], "conversation 2, turn 2: expected a text, found an empty one"),
        ("Ann: hello", "expected a conversation or a list of conversations, found 'Ann: hello'"),
        ({"speaker": "Ann", "text": "w8"}, "expected a conversation or a list of conversations, found dict"),
        (5, "expected a conversation or a list of conversations, found 5"),
        ([{"speaker": "A", "text": "w8", "visual": VISUAL[:2]}], "turn 1: expected 3 visual features, found 2"),
        ([{"speaker": "A", "text": "w8", "visual": [VISUAL]}], "turn 1: expected 3 visual features, found list"),
        ([{"speaker": "A", "text": "w8", "visual": "abc"}], "turn 1: expected 3 visual features, found 'abc'"),
        (
            [{"speaker": "A", "text": "w8", "visual": np.ones((2, 3))}],
            r"turn 1: expected 3 visual features, found an array of float64 of shape \(2, 3\)",
        ),
        (
            [{"speaker": "A", "text": "w8", "visual": np.array(["a", "b", "c"])}],
            r"turn 1: expected 3 visual features, found an array of str32 of shape \(3,\)",
        ),
        (
            [{"speaker": np.array(["A", "B"]), "text": "w8"}],
            r"turn 1: expected the name of a speaker, found an array of str32 of shape \(2,\)",
        ),
        ([{"speaker": "A", "text": np.ones(2)}], r"turn 1: expected a text, found an array of float64 of shape \(2,\)"),
        (
            [{"speaker": "A", "text": "w8", "id": np.ones(2)}],
            "turn 1: expected a name or a whole number as id, found an",
        ),
        ([{"speaker": "A", "text": "w8", "visual": [[1], [2, 3]]}], "turn 1: expected 3 visual features, found list"),
        ([{"speaker": "A", "text": "w8", "visual": [0, 1, 1e39]}], "turn 1: expected 3 finite visual features"),
        ([{"speaker": "A", "text": "w8", "visual": [0, 1, np.nan]}], "turn 1: expected 3 finite visual features"),
        ([("", "a\nb" * 99)], "conversation 1, turn 1: expected the name of a speaker"),
    ],
)
def test_what_is_wrong_is_one_line(predictor, given, message):
    with pytest.raises(InputError, match=message) as caught:
        predictor.predict(given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_is_wrong_with_a_conversation_is_one_line(predictor):
    (given,) = conversations(3)
    wrong = given.features | {"acoustic": np.zeros((3, 4), np.float32)}
    with pytest.raises(InputError, match="conversation c0, turn 0: expected 5 acoustic features, found 4"):
        predictor.predict(dataclasses.replace(given, features=wrong))
    odd = dataclasses.replace(given, id="a\nb", features=wrong)
    with pytest.raises(InputError, match=r"^conversation 'a\\nb', turn 0: "):
        predictor.predict([given, odd])
    with pytest.raises(InputError, match="expected a run directory of a training"):
        dtrm_jax.load("no/such/run")


def test_labels_of_the_model():
    names = LabelSpace(("x", "y"))
    assert Predictor(random_trained(multimodal("av"), labels=names)).labels == names.names
