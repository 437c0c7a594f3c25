"""The table of metrics: values against scikit-learn and definitions, and a new metric in one entry."""

import numpy as np
import pytest
import sklearn.metrics

from dtrm_jax import config as config_lib
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.evaluation.terminal import format_evaluation
from dtrm_jax.experiments import records
from dtrm_jax.experiments.variants import U
from dtrm_jax.json_file import read_json
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.tasks import METRICS, Classes, Metric, Targets, Values, task_of
from dtrm_jax.training import loop
from tests.pages import parse
from tests.runs import tiny_run_config

NAMES = tuple("abcdefg")


def drawn(seed):
    """Labels and predictions; no turn is of class g, and e is never predicted."""
    random = np.random.default_rng(seed)
    labels = random.choice(7, size=241, p=[0.4, 0.3, 0.1, 0.1, 0.06, 0.04, 0.0])
    predictions = np.where(random.random(241) < 0.5, labels, random.integers(7, size=241))
    return labels, np.where(predictions == 4, 0, predictions)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("neutral", ["a", "e", "g"])
def test_micro_f1_leaves_the_neutral_class_out(seed, neutral):
    labels, predictions = drawn(seed)
    scores = Classes(LabelSpace(NAMES), neutral).scores(labels, predictions)
    others = [index for index, name in enumerate(NAMES) if name != neutral]
    expected = sklearn.metrics.f1_score(labels, predictions, labels=others, average="micro")
    assert scores["micro_f1"] == pytest.approx(expected, abs=1e-12)
    assert scores["neutral"] == neutral and scores["micro_f1"] != pytest.approx(scores["accuracy"])


def test_without_a_neutral_class_there_is_no_micro_f1():
    scores = Classes(LabelSpace(NAMES)).scores(*drawn(0))
    assert "micro_f1" not in scores and "neutral" not in scores


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("seed", range(4))
def test_average_recall_is_balanced_accuracy(seed):
    labels, predictions = drawn(seed)
    expected = sklearn.metrics.balanced_accuracy_score(labels, predictions)
    assert Classes(LabelSpace(NAMES)).scores(labels, predictions)["average_recall"] == pytest.approx(
        expected, abs=1e-12
    )


def test_the_older_metrics_are_those_of_scikit_learn_to_the_last_digits():
    labels, predictions = drawn(0)
    scores = Classes(LabelSpace(NAMES)).scores(labels, predictions)
    options = {"labels": range(7), "zero_division": 0}
    assert scores["accuracy"] == sklearn.metrics.accuracy_score(labels, predictions)
    for average in ("weighted", "macro"):
        expected = sklearn.metrics.f1_score(labels, predictions, average=average, **options)
        assert scores[f"{average}_f1"] == pytest.approx(expected, abs=1e-15)


def concordance(x, y):
    """Lin's coefficient by its definition."""
    return 2 * np.mean((x - x.mean()) * (y - y.mean())) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_concordance_by_its_definition():
    random = np.random.default_rng(0)
    values = random.normal(3, 2, (53, 2))
    outputs = values * [0.5, 1] + random.normal(0, 1, (53, 2)) + [0, 4]
    values[random.random((53, 2)) < 0.2] = np.nan
    scores = Values(ValueSpace(("one", "two"))).score(Targets(np.full(53, -1), values), outputs)
    for index, name in enumerate(("one", "two")):
        there = ~np.isnan(values[:, index])
        expected = concordance(values[there, index], outputs[there, index])
        assert scores["per_target"][name]["ccc"] == pytest.approx(expected, abs=1e-12)
        assert scores["per_target"][name]["ccc"] < scores["per_target"][name]["pearson_r"]
    assert scores["ccc"] == pytest.approx(np.mean([row["ccc"] for row in scores["per_target"].values()]))


def test_of_two_equal_series_the_concordance_is_1_and_an_offset_lowers_it_alone():
    values = np.random.default_rng(0).normal(size=(31, 1))
    task, targets = Values(ValueSpace(("x",))), Targets(np.full(31, -1), values)
    same, shifted = task.score(targets, values), task.score(targets, values + 2)
    assert same["ccc"] == pytest.approx(1) and shifted["pearson_r"] == pytest.approx(1)
    assert shifted["ccc"] < 0.5
    assert task.score(targets, np.full((31, 1), 0.3))["ccc"] == 0


def test_a_neutral_class_must_be_a_class():
    with pytest.raises(InputError, match="config.data.neutral: expected one of x, y, found 'z'"):
        task_of(LabelSpace(("x", "y")), "z")
    with pytest.raises(InputError, match="config.data.neutral: expected nothing, as there are real values, found 'x'"):
        task_of(ValueSpace(("x", "y")), "x")


def test_selecting_by_what_does_not_exist_is_one_line(tmp_path):
    config = tiny_run_config(tmp_path)
    config.train.select_by = "micro_f1"
    with pytest.raises(InputError, match="select_by: planted has classes, .* found micro_f1; name config.data.neutral"):
        loop.train(config, str(tmp_path / "run"))


def test_a_new_metric_is_one_entry(tmp_path, monkeypatch, bag_of_words):
    """From the table alone to the settings, the training log, the selection, every file, the terminal and the page."""
    entry = Metric(
        name="error_rate",
        title="errors",
        percent=True,
        larger_is_better=False,
        of_counts=lambda found: 1 - found.hits.sum(axis=-1) / found.n,
    )
    monkeypatch.setitem(METRICS, "error_rate", entry)
    config = tiny_run_config(tmp_path / "cache")
    config.train.select_by, config.train.score_test, config.data.neutral = "error_rate", True, "neutral"
    config.model.architecture = bag_of_words
    config_lib.validate(config)
    run = RunDirectory(tmp_path / "run")
    progress = loop.train(config, str(run.path)).progress
    dev = {record["step"]: record for record in read_records(run.metrics_file) if record["split"] == "dev"}
    assert progress.best_score == min(record["error_rate"] for record in dev.values())

    evaluation = evaluate_run(run)
    metrics, analysis = (read_json(run.evaluation("test") / f"{x}.json", "a file") for x in ("metrics", "analysis"))
    assert metrics["error_rate"] == pytest.approx(1 - metrics["accuracy"]) and 0 <= metrics["micro_f1"] <= 1
    interval = analysis["intervals"]["error_rate"]
    assert interval["low"] <= interval["value"] <= interval["high"]
    assert "errors" in format_evaluation(evaluation).splitlines()[2]

    page = parse(write_report(run, "test").read_text(encoding="utf-8"))
    cards = {card.find("h3").text: card for card in page.find_all("div", class_="card")}
    assert entry.shown(interval["low"]) in cards["errors"].text and "micro F1 without neutral" in cards
    chosen = entry.shown(dev[metrics["step"]]["error_rate"])
    assert f"the best errors on dev ({chosen})" in page.find("dl").text
    record = records.write(tmp_path, U, 0, run)
    assert record.dev["error_rate"] == progress.best_score
    assert record.best_test_epoch["error_rate"] <= record.test["error_rate"]
    (run.evaluation("test") / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match=r"metrics\.json: expected corpus, step, found none; evaluate again"):
        records.write(tmp_path, U, 0, run)
