"""Scores of real values against SciPy and scikit-learn, and their files."""

import csv

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error

from dtrm_jax.conversation import Conversation, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.terminal import format_metrics
from dtrm_jax.tasks import Targets, Values

SPACE = ValueSpace(("valence", "arousal", "power"))


TASK = Values(SPACE)


def value_metrics(values, outputs, space=SPACE):
    """Scores values, of which there are no classes."""
    return Values(space).score(Targets(np.full(len(values), -1), values), outputs)


def made(n=41):
    random = np.random.default_rng(0)
    values = random.normal(size=(n, 3))
    outputs = (values + random.normal(size=(n, 3)) * [0.3, 1, 4]).astype(np.float32)
    values[random.random((n, 3)) < 0.2] = np.nan
    return values, outputs


def test_equals_scipy_and_scikit_learn_over_the_annotated_values():
    values, outputs = made()
    metrics = value_metrics(values, outputs)
    for index, name in enumerate(SPACE.names):
        there = ~np.isnan(values[:, index])
        scores = metrics["per_target"][name]
        assert scores["n"] == there.sum() < 41
        assert scores["pearson_r"] == pytest.approx(pearsonr(values[there, index], outputs[there, index]).statistic)
        assert scores["mae"] == pytest.approx(mean_absolute_error(values[there, index], outputs[there, index]))
        assert scores["constant"] is None
    for name in ("pearson_r", "mae"):
        assert metrics[name] == pytest.approx(np.mean([metrics["per_target"][t][name] for t in SPACE.names]))
    assert metrics["n"] == (~np.isnan(values)).any(axis=1).sum()
    assert metrics["loss"] == pytest.approx(np.nanmean((values - outputs) ** 2))
    assert metrics["targets"] == ["valence", "arousal", "power"]


@pytest.mark.parametrize("constant", [0.0, 0.3, -1e-9, 1e6])
def test_a_constant_prediction_scores_0_and_says_so(constant):
    values, outputs = made()
    # As a network makes it: equal up to float32 rounding.
    outputs[:, 1] = np.float32(constant) * (1 + np.random.default_rng(1).choice([0, 1.2e-7], 41)).astype(np.float32)
    scores = value_metrics(values, outputs)["per_target"]["arousal"]
    assert scores["pearson_r"] == 0 and scores["constant"] == "prediction"
    there = ~np.isnan(values[:, 1])
    assert scores["mae"] == pytest.approx(np.abs(values[there, 1] - constant).mean(), rel=1e-5)


def test_constant_annotations_and_a_single_value_are_defined_too():
    values, outputs = made()
    values[:, 0] = 0.7
    values[1:, 2] = np.nan
    values[0, 2] = 1.0
    metrics = value_metrics(values, outputs)
    assert metrics["per_target"]["valence"]["constant"] == "annotation"
    assert metrics["per_target"]["valence"]["pearson_r"] == 0
    assert metrics["per_target"]["power"] == {
        "pearson_r": 0.0,
        "mae": pytest.approx(abs(1 - float(outputs[0, 2]))),
        "ccc": 0.0,
        "n": 1,
        "constant": "prediction",
    }


def test_a_small_but_real_spread_is_no_constant():
    values, outputs = made()
    outputs[:, 0] = 5 + 1e-3 * outputs[:, 0]
    assert value_metrics(values, outputs)["per_target"]["valence"]["constant"] is None


def test_a_target_without_annotations_counts_in_no_mean():
    values, outputs = made()
    values[:, 2] = np.nan
    metrics = value_metrics(values, outputs)
    assert metrics["per_target"]["power"] == {"pearson_r": None, "mae": None, "ccc": None, "n": 0, "constant": None}
    two = value_metrics(values[:, :2], outputs[:, :2], ValueSpace(SPACE.names[:2]))
    assert metrics["pearson_r"] == two["pearson_r"] and metrics["mae"] == two["mae"]


def test_what_cannot_be_scored_is_refused():
    values, outputs = made()
    with pytest.raises(InputError, match="no annotated utterance"):
        value_metrics(np.full_like(values, np.nan), outputs)
    outputs[3, 1] = np.nan
    with pytest.raises(InputError, match="utterance 3: the predictions are not finite"):
        value_metrics(values, outputs)
    with pytest.raises(ValueError, match=r"expected \[n, 3\]"):
        value_metrics(values[:, :2], outputs[:, :2])


def test_the_table():
    values, outputs = made()
    outputs[:, 1], values[:, 2] = 0, np.nan
    lines = format_metrics(value_metrics(values, outputs), TASK).splitlines()
    assert lines[0].split() == ["Pearson", "r", "MAE", "CCC", "loss", "n"]
    assert [line.split()[0] for line in lines[4:]] == ["valence", "arousal", "power"]
    assert lines[5].split()[1] == "0.0000" and lines[5].endswith("constant prediction")
    assert lines[6].split() == ["power", "-", "-", "-", "0"]
    assert max(map(len, lines)) <= 80


def test_predictions_have_a_label_and_a_prediction_a_target(tmp_path):
    turns = (
        Turn("0", "user", 'so, "yes"', values=(0.25, None, -1.0)),
        Turn("1", "other", "no", values=(0.5, 0.125, None)),
    )
    outputs = np.array([[0.1, 0.2, 0.3], [-0.4, 0.5, 1e-7]], np.float32)
    path = tmp_path / "predictions.csv"
    predictions.write(path, [Conversation("c", turns)], [outputs], TASK)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "conversation",
        "turn",
        "speaker",
        "text",
        *(f"{kind}_{name}" for name in SPACE.names for kind in ("label", "prediction")),
    ]
    assert rows[0]["text"] == 'so, "yes"' and rows[0]["label_arousal"] == "" and rows[1]["label_power"] == ""
    found = np.array([[row[f"prediction_{name}"] for name in SPACE.names] for row in rows], np.float32)
    np.testing.assert_array_equal(found, outputs)
    assert [rows[0]["label_valence"], rows[0]["label_power"], rows[1]["label_arousal"]] == ["0.25", "-1.0", "0.125"]
    read, task = predictions.read(path)
    assert task == TASK and [turn.labels for turn in read] == [(0.25, None, -1.0), (0.5, 0.125, None)]
    np.testing.assert_array_equal(np.array([turn.predictions for turn in read], np.float32), outputs)
    with pytest.raises(ValueError, match="conversation c: expected outputs of shape"):
        predictions.write(path, [Conversation("c", turns)], [outputs[:1]], TASK)


VALUES = "conversation,turn,speaker,text,label_a,prediction_a,label_b,prediction_b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VALUES.replace("prediction_b", "prediction_c"), "line 1: expected the columns conversation,.* found"),
        (VALUES.replace(",label_b,prediction_b", ",label_b"), "line 1: expected the columns conversation"),
        (VALUES.replace("_b", "_a"), "line 1: expected the columns conversation"),
        (VALUES.replace("label_a,", ""), "line 1: expected the columns conversation"),
        (VALUES + ",gate_xx", "line 1: expected the columns attended_turn_<m>"),
        (VALUES + "\nd,0,s,hi,,0.5,0.25\n", "line 2: expected 8 fields, found 7"),
        (VALUES + "\nd,0,s,hi,,,0.25,1\n", "line 2: expected a value, found ''"),
        (VALUES + "\nd,0,s,hi,x,1,0.25,1\n", "line 2: expected a value or nothing, found 'x'"),
    ],
)
def test_reading_values_names_the_file_and_the_line(tmp_path, content, message):
    path = tmp_path / "predictions.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"predictions\.csv, {message}"):
        predictions.read(path)
