"""Emotion shifts and short utterances, counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.evaluation.analysis import groups
from dtrm_jax.tasks import Classes
from tests.predicted import TASK, conversation, random_turns


def ids(turns):
    return [turn.conversation + turn.turn for turn in turns]


#               turn      0123456789
FIRST = conversation("d", "xyyxxzxyzz", "abbabbb-ca", "abaabcbccb")
SECOND = conversation("e", "xxz", "-ab", "bbb")


def test_intra_shifts_by_hand():
    # x: a0 a3 b4 b6; y: b1 b2 (7 has no label); z: b5 c8 a9. In e, x: a1 only; z: b2 only.
    assert ids(groups.intra_shifts(FIRST + SECOND)) == ["d4", "d8", "d9"]


def test_inter_shifts_by_hand():
    # a0|b1 b2|a3|b4 b5 b6 (7)|c8|a9: whoever speaks, and past the turn without a label. In e: a1|b2.
    assert ids(groups.inter_shifts(FIRST + SECOND)) == ["d1", "d3", "d4", "d8", "d9", "e2"]


def test_speakers_and_emotions_of_one_conversation_say_nothing_about_the_next():
    turns = conversation("d", "xy", "ab", "ab") + conversation("e", "xy", "bc", "bc")
    assert groups.intra_shifts(turns) == []
    assert ids(groups.inter_shifts(turns)) == ["d1", "e1"]
    interleaved = [turns[0], turns[2], turns[1], turns[3]]
    assert ids(groups.inter_shifts(interleaved)) == ["d1", "e1"]


def test_a_turn_without_a_label_interrupts_nothing():
    assert ids(groups.intra_shifts(conversation("d", "xxx", "a-a", "aaa"))) == []
    assert ids(groups.intra_shifts(conversation("d", "xxx", "a-b", "aaa"))) == ["d2"]
    assert ids(groups.inter_shifts(conversation("d", "xyx", "a-a", "aaa"))) == []
    assert ids(groups.inter_shifts(conversation("d", "xyx", "a-b", "aaa"))) == ["d2"]


def test_the_table_by_hand():
    table = groups.shifts(FIRST + SECOND, TASK)
    assert {name: group["n"] for name, group in table.items()} == {"all": 11, "intra": 3, "inter": 6, "neither": 5}
    # d4 b as b, d8 c as c, d9 a as b: F1 of b is 2/3, of c 1, of a 0.
    assert table["intra"]["accuracy"] == pytest.approx(2 / 3)
    assert table["intra"]["weighted_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert [group["per_conversation"] for group in table.values()] == [5.5, 1.5, 3, 2.5]
    assert table["neither"]["accuracy"] == 2 / 5  # d0 a, d2 b as a, d5 b as c, d6 b, e1 a as b


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn_and_the_groups_are_complete(seed):
    turns = random_turns(seed)
    table = groups.shifts(turns, TASK)
    shifting = {*ids(groups.intra_shifts(turns)), *ids(groups.inter_shifts(turns))}
    assert table["neither"]["n"] + len(shifting) == table["all"]["n"]
    for name, group in (("all", groups.labelled(turns)), ("inter", groups.inter_shifts(turns))):
        true, predicted = [turn.label for turn in group], [turn.prediction for turn in group]
        assert table[name]["accuracy"] == pytest.approx(accuracy_score(true, predicted))
        assert table[name]["weighted_f1"] == pytest.approx(f1_score(true, predicted, average="weighted"))


def test_an_empty_group_has_no_scores():
    table = groups.shifts(conversation("d", "xy", "aa", "ab"), TASK)
    assert table["intra"] == {"n": 0, "accuracy": None, "weighted_f1": None, "per_conversation": 0}


def test_class_indices_are_those_of_the_label_space():
    true, predicted = Classes(LabelSpace(("c", "b", "a"))).arrays(conversation("d", "xyz", "acb", "bca"))
    np.testing.assert_array_equal(true, [2, 0, 1])
    np.testing.assert_array_equal(predicted, [1, 0, 2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yeah.", "yeah"),
        ("  YEAH?! ", "yeah"),
        ("Oh, yeah...", "oh yeah"),
        ("I don’t--I DON'T know.", "i don't i don't know"),
        ("uh-huh", "uh-huh"),
        ("'Quoted' [laughter]", "quoted laughter"),
        ("Ça va? STRASSE straße", "ça va strasse strasse"),
        ("...", ""),
        ("", ""),
    ],
)
def test_texts_are_compared_without_case_and_punctuation(text, expected):
    assert groups.normalized(text) == expected


TEXTS = ("Yeah.", "yeah", "YEAH!", "Oh yeah.", "No.", "...", "no", "Okay?", "No way at all.", "yeah", "oh, yeah?")
SHORT = conversation("d", "x" * 11, "abcabcab-a-", "abaabcbbaab", TEXTS)


def test_short_utterances_by_hand():
    assert ids(groups.with_text(SHORT, "yeah.")) == ["d0", "d1", "d2", "d9"]
    assert ids(groups.with_words(SHORT, 1)) == ["d0", "d1", "d2", "d4", "d6", "d7", "d9"]
    assert ids(groups.with_words(SHORT, 2)) == ["d0", "d1", "d2", "d3", "d4", "d6", "d7", "d9"]
    short = groups.short_utterances(SHORT, TASK, words=2)
    assert (short["one_word"]["n"], short["one_word"]["accuracy"]) == (7, pytest.approx(5 / 7))
    found = {text: (group["n"], group["accuracy"]) for text, group in short["texts"].items()}
    assert found == {"yeah": (4, 0.75), "no": (2, 0.5)}


def test_the_most_frequent_texts_and_those_asked_for():
    short = groups.short_utterances(SHORT, TASK, frequent=1, always=("Oh, yeah", "absent"))
    assert list(short["texts"]) == ["yeah", "oh yeah", "absent"]
    assert short["texts"]["oh yeah"]["n"] == 1
    assert short["texts"]["absent"] == {"n": 0, "accuracy": None, "weighted_f1": None}
    equals = conversation("d", "xxxxx", "aaaaa", "aaaaa", ("no", "ah", "no", "ah", "oh"))
    assert list(groups.short_utterances(equals, TASK, always=())["texts"]) == ["ah", "no"]
