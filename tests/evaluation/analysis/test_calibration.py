"""Calibration, by hand and against a plain loop."""

import dataclasses
import math

import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.calibration import calibration
from tests.predicted import LABELS, TASK, conversation, random_turns


def with_probabilities(turns, rows):
    """Gives the turns these probabilities, and the predictions that follow from them."""
    return [
        dataclasses.replace(turn, probabilities=tuple(row), prediction=LABELS.names[int(np.argmax(row))])
        for turn, row in zip(turns, rows, strict=True)
    ]


def test_by_hand():
    rows = [(0.5, 0.25, 0.25), (0.25, 0.5, 0.25), (0.125, 0.125, 0.75), (1, 0, 0), (0, 0, 1), (0.5, 0.125, 0.375)]
    turns = with_probabilities(conversation("d", "xyxyxy", "aaccc-", "aaaaaa"), rows)
    found = calibration(turns, TASK, bins=4)
    # (1/4, 1/2]: two of 0.5, one right. (1/2, 3/4]: 0.75, right. (3/4, 1]: two of 1, one right.
    assert [(one["n"], one["confidence"], one["accuracy"]) for one in found["bins"]] == [
        (0, None, None),
        (2, 0.5, 0.5),
        (1, 0.75, 1),
        (2, 1, 0.5),
    ]
    assert [(one["low"], one["high"]) for one in found["bins"]] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert found["expected_calibration_error"] == pytest.approx((2 * 0 + 1 * 0.25 + 2 * 0.5) / 5)
    # The fourth turn's label has probability 0, which counts as the smallest normal float32.
    likelihoods = (0.5, 0.25, 0.75, 2.0**-126, 1)
    assert found["negative_log_likelihood"] == pytest.approx(-sum(map(math.log, likelihoods)) / 5)


def test_against_a_plain_loop():
    turns = random_turns(3)
    turns = with_probabilities(turns, np.random.default_rng(0).dirichlet(np.ones(3), size=len(turns)))
    found, total, n = calibration(turns, TASK), 0.0, sum(turn.label is not None for turn in turns)
    assert len(found["bins"]) == 15 and sum(one["n"] for one in found["bins"]) == n
    for index, one in enumerate(found["bins"]):
        inside = [turn for turn in turns if turn.label and index / 15 < max(turn.probabilities) <= (index + 1) / 15]
        assert one["n"] == len(inside)
        if inside:
            confidence = sum(max(turn.probabilities) for turn in inside) / len(inside)
            accuracy = sum(turn.label == turn.prediction for turn in inside) / len(inside)
            assert (one["confidence"], one["accuracy"]) == pytest.approx((confidence, accuracy))
            total += len(inside) / n * abs(confidence - accuracy)
    assert found["expected_calibration_error"] == pytest.approx(total) and total > 0.05


def test_rounding_past_1_is_in_the_last_bin():
    turns = with_probabilities(conversation("d", "x", "a", "a"), [(1.0000001, 0, 0)])
    assert calibration(turns, TASK)["bins"][-1]["n"] == 1


@pytest.mark.parametrize(("row", "found"), [((1.5, 0.2, 0.1), "1.5, 0.2, 0.1"), ((0.7, -0.1, 0.4), "0.7, -0.1, 0.4")])
def test_what_is_no_probability_is_refused(row, found):
    turns = with_probabilities(conversation("d", "xy", "ab", "ab"), [(0.5, 0.3, 0.2), row])
    with pytest.raises(InputError, match=f"conversation d, turn 1: expected probabilities from 0 to 1, found {found}"):
        calibration(turns, TASK)


def test_nothing_to_score():
    with pytest.raises(InputError, match="no labelled utterance"):
        calibration(conversation("d", "xy", "--", "ab"), TASK)
