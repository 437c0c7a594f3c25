"""Two predictions of the same turns."""

import dataclasses

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.paired import matched, rectified_cases
from tests.predicted import TASK, conversation, other_predictions, random_turns

FIRST = conversation("d", "xyxyx", "abc-b", "bbaac") + conversation("e", "xy", "ac", "ba")
SECOND = conversation("d", "xyxyx", "abc-b", "acbba") + conversation("e", "xy", "ac", "ac")


def test_rectified_cases_by_hand():
    # d0 a: b, then a. d1 b: b, then c. d2 c: wrong twice. d3: no label. d4 b: wrong twice. e0 a: b, a. e1 c: a, c.
    assert rectified_cases(FIRST, SECOND, TASK) == {
        "labels": ["a", "b", "c"],
        "rectified": {"n": 3, "counts": [[0, 2, 0], [0, 0, 0], [1, 0, 0]]},
        "spoiled": {"n": 1, "counts": [[0, 0, 0], [0, 0, 1], [0, 0, 0]]},
    }


def test_they_account_for_the_difference_in_accuracy():
    first = random_turns(0)
    second = other_predictions(first, seed=2)
    cases = rectified_cases(first, second, TASK)
    right = [sum(turn.label == turn.prediction for turn in turns) for turns in (first, second)]
    assert cases["rectified"]["n"] - cases["spoiled"]["n"] == right[1] - right[0] != 0
    assert cases["rectified"]["n"] == sum(map(sum, cases["rectified"]["counts"]))


def test_the_order_of_the_turns_does_not_matter_and_texts_may_differ():
    silent = [dataclasses.replace(turn, text="") for turn in SECOND]
    assert matched(FIRST, silent[::-1]) == silent
    assert rectified_cases(FIRST, silent[::-1], TASK) == rectified_cases(FIRST, SECOND, TASK)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (SECOND[:-1], "conversation e, turn 1: expected in both predictions, found in the first only"),
        ([*SECOND, *conversation("f", "x", "a", "a")], "conversation f, turn 0: .* found in the second only"),
        (conversation("e", "xy", "ac", "ac"), "conversation d, turn 0: .* found in the first only"),
        ([*SECOND, SECOND[1]], "conversation d, turn 1: expected one prediction, found two"),
        ([dataclasses.replace(SECOND[0], label="c"), *SECOND[1:]], "turn 0: expected one label, found 'a' and 'c'"),
        ([*SECOND[:-1], dataclasses.replace(SECOND[-1], label=None)], "expected one label, found 'c' and None"),
    ],
)
def test_other_turns_are_refused(second, message):
    for compared in (matched, lambda *pair: rectified_cases(*pair, TASK)):
        with pytest.raises(InputError, match=message):
            compared(FIRST, second)
