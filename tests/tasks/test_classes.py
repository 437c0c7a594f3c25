"""Classification scores against closed forms and independent computations."""

import json

import numpy as np
import pytest
import sklearn.metrics

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data.readers import meld
from dtrm_jax.errors import InputError
from dtrm_jax.tasks import Classes

ABC, MELD = Classes(LabelSpace(("a", "b", "c"))), Classes(meld.LABELS)
COUNTS = np.array([[13, 2, 3], [5, 17, 1], [7, 11, 19]])  # pairwise distinct, so that no two can be swapped unseen


def from_counts(counts):
    """Returns labels and predictions with this confusion matrix, in a scrambled order."""
    labels, predictions = np.nonzero(np.ones_like(counts))
    labels, predictions = (np.repeat(classes, counts.ravel()) for classes in (labels, predictions))
    order = np.random.default_rng(0).permutation(len(labels))
    return labels[order], predictions[order]


def test_closed_forms():
    metrics = ABC.scores(*from_counts(COUNTS))
    assert metrics["confusion_matrix"] == COUNTS.tolist()
    assert metrics["labels"] == ["a", "b", "c"]
    assert metrics["n"] == 78
    assert metrics["accuracy"] == pytest.approx(49 / 78)
    # 2 TP / (predicted + true) of each class.
    f1 = {"a": 26 / (25 + 18), "b": 34 / (30 + 23), "c": 38 / (23 + 37)}
    assert metrics["weighted_f1"] == pytest.approx((18 * f1["a"] + 23 * f1["b"] + 37 * f1["c"]) / 78)
    assert metrics["macro_f1"] == pytest.approx(sum(f1.values()) / 3)
    expected = {"a": (13 / 25, 13 / 18, 18), "b": (17 / 30, 17 / 23, 23), "c": (19 / 23, 19 / 37, 37)}
    for name, (precision, recall, support) in expected.items():
        wanted = {"precision": precision, "recall": recall, "f1": f1[name], "support": support}
        assert metrics["per_class"][name] == pytest.approx(wanted)


def plain_numpy(counts):
    """Accuracy, weighted and macro F1 of a confusion matrix."""
    counts = np.asarray(counts, dtype=float)
    hits, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=true + predicted > 0)
    return hits.sum() / counts.sum(), true @ f1 / counts.sum(), f1.mean()


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_plain_numpy_and_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, size=331, p=[0.4, 0.3, 0.1, 0.1, 0.06, 0.04, 0.0])
    probabilities = rng.dirichlet(np.ones(7), size=331)
    probabilities[np.arange(331), labels] += 0.3
    metrics = MELD.scores(labels, probabilities)
    scores = metrics["accuracy"], metrics["weighted_f1"], metrics["macro_f1"]
    assert scores == pytest.approx(plain_numpy(metrics["confusion_matrix"]))
    names = np.array(meld.LABELS.names)
    report = sklearn.metrics.classification_report(
        names[labels], names[probabilities.argmax(1)], labels=names, output_dict=True, zero_division=0.0
    )
    assert metrics["weighted_f1"] == pytest.approx(report["weighted avg"]["f1-score"])
    assert metrics["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    for name in names:
        row = metrics["per_class"][name]
        assert row["f1"] == pytest.approx(report[name]["f1-score"])
        assert row["precision"] == pytest.approx(report[name]["precision"])
        assert row["recall"] == pytest.approx(report[name]["recall"])


def test_always_neutral_on_the_test_split_of_meld():
    labels = np.repeat(np.arange(7), [1256, 281, 50, 208, 402, 68, 345])
    metrics = MELD.scores(labels, np.zeros_like(labels))
    assert metrics["n"] == 2610
    assert metrics["accuracy"] == pytest.approx(0.4812, abs=5e-5)
    assert metrics["weighted_f1"] == pytest.approx(0.3127, abs=5e-5)
    assert metrics["macro_f1"] == pytest.approx(2 * 1256 / (2610 + 1256) / 7)


@pytest.mark.filterwarnings("error")
def test_a_class_absent_from_the_split_counts_as_zero_in_macro_f1_only():
    metrics = ABC.scores(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1]))
    assert metrics["accuracy"] == metrics["weighted_f1"] == 1
    assert metrics["macro_f1"] == pytest.approx(2 / 3)
    assert metrics["per_class"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert metrics["confusion_matrix"] == [[3, 0, 0], [0, 2, 0], [0, 0, 0]]


def test_predictions_are_the_largest_probabilities_and_the_first_of_equals():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]], dtype=np.float32)
    metrics = ABC.scores(np.array([1, 2, 0]), probabilities)
    assert metrics["accuracy"] == 1
    assert metrics == ABC.scores(np.array([1, 2, 0]), np.array([1, 2, 0]))


def test_the_loss_is_reported_if_given():
    labels = np.array([0, 1], dtype=np.int32)
    assert ABC.scores(labels, labels, loss=np.float32(0.5))["loss"] == 0.5
    assert "loss" not in ABC.scores(labels, labels)


def test_holds_plain_json_types():
    metrics = ABC.scores(np.array([0, 1], dtype=np.int32), np.eye(3)[:2], loss=np.float32(0.5))
    assert json.loads(json.dumps(metrics)) == metrics


GOOD = np.array([0, 1])


@pytest.mark.parametrize(
    ("labels", "outputs", "loss", "error", "message"),
    [
        (GOOD, np.array([0]), None, ValueError, "as many outputs as labels, found 1 for 2"),
        (GOOD, np.ones((3, 3)), None, ValueError, "as many outputs as labels, found 3 for 2"),
        (GOOD, np.ones((2, 4)), None, ValueError, "expected 3 probabilities per utterance, found 4"),
        (
            GOOD,
            np.ones((2, 3, 1)),
            None,
            ValueError,
            r"one prediction per utterance, found an array of shape \(2, 3, 1",
        ),
        (np.array([[0, 1]]), GOOD, None, ValueError, r"one label per utterance, found an array of shape \(1, 2\)"),
        (np.array([0, 3]), GOOD, None, ValueError, "utterance 1: expected a label from 0 to 2, found 3"),
        (np.array([0, -1]), GOOD, None, ValueError, r"utterance 1: .*found -1 \(leave out unlabelled turns\)"),
        (GOOD, np.array([5, 0]), None, ValueError, "utterance 0: expected a prediction from 0 to 2, found 5"),
        (np.array([0.0, 1.0]), GOOD, None, ValueError, "an integer label per utterance, found float64"),
        (GOOD, np.array([0.2, np.nan]), None, ValueError, "an integer prediction per utterance, found float64"),
        (
            GOOD,
            np.array([[0, 0, 1], [0, np.nan, 1]]),
            None,
            InputError,
            "utterance 1: the probabilities are not finite",
        ),
        (
            GOOD,
            np.array([[0, np.inf, 1], [0, 0, 1]]),
            None,
            InputError,
            "utterance 0: the probabilities are not finite",
        ),
        (GOOD, GOOD, float("nan"), InputError, "the loss is not finite but nan"),
        (np.array([]), np.zeros((0, 3)), None, InputError, "no labelled utterance"),
        ([], [], None, InputError, "no labelled utterance"),
    ],
)
def test_refuses_what_it_cannot_score(labels, outputs, loss, error, message):
    with pytest.raises(error, match=message):
        ABC.scores(labels, outputs, loss)
