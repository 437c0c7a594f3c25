"""Outcomes as Markdown and CSV, and the differences in them."""

import copy
import csv
import io
from pathlib import Path

import numpy as np
import pytest
from dtrm_jax.evaluation.metrics import classification_metrics

from dtrm_jax.conversation import Dataset
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.groups import class_indices
from dtrm_jax.experiments import grid, outcome, records, rendering, tables
from dtrm_jax.experiments import variants as v
from tests.factories import LABELS, random_conversation, tiny_config

CONVERSATIONS = tuple(random_conversation(np.random.default_rng(n), 3 + n, unlabelled=0.1) for n in range(6))
CONVERSATIONS = tuple(type(one)(f"c{number}", one.turns, one.features) for number, one in enumerate(CONVERSATIONS))
DATASET = Dataset("IEMOCAP", LABELS, {"test": CONVERSATIONS})


def record(variant, seed, right):
    """A record whose predictions are right with this probability."""
    random = np.random.default_rng((seed, round(100 * right)))
    predicted = {
        one.id: [
            LABELS.index(turn.label) if turn.label and random.random() < right else int(random.integers(5))
            for turn in one.turns
        ]
        for one in CONVERSATIONS
    }
    made = {"variant": variant.name, "seed": seed, "predicted": predicted, "dev": {"weighted_f1": 0.5 + seed / 10}}
    turns = [turn for turn in records.predicted_turns(made, CONVERSATIONS, LABELS, "file") if turn.label is not None]
    made["test"] = classification_metrics(*class_indices(turns, LABELS), LABELS)
    return made


@pytest.fixture
def found(monkeypatch):
    """Table 3 on a small corpus: the first three rows, two seeds each but for one."""
    kept = {
        ("bert", 0): record(v.BERT, 0, 0.1),
        ("bert", 1): record(v.BERT, 1, 0.1),
        ("u", 0): record(v.U, 0, 0.7),
        ("u", 1): record(v.U, 1, 0.7),
        ("u-no-transformer", 1): record(v.WITHOUT_TRANSFORMER, 1, 0.6),
    }
    monkeypatch.setattr(records, "read", lambda folder, variant, seed, config: kept.get((variant.name, seed)))
    config = tiny_config(data__name="iemocap")
    made = outcome.collect(tables.table("table3", "iemocap"), config, DATASET, range(3), Path("folder"))
    return made, kept


def test_differences_are_of_the_mean_over_seeds(found):
    made, kept = found
    rows = {row["variant"]: row for row in made["rows"]}
    for name, row in rows.items():
        seeds = [seed for variant, seed in kept if variant == name]
        assert row["seeds"] == seeds
        assert row["scores"]["test.weighted_f1"] == [kept[name, seed]["test"]["weighted_f1"] for seed in seeds]
    mean = {name: np.mean(row["scores"]["test.weighted_f1"]) for name, row in rows.items() if row["seeds"]}
    for name in ("bert", "u-no-transformer"):
        one = rows[name]["difference"]
        assert one["difference"] == pytest.approx(mean[name] - mean["u"])
        assert one["low"] < one["difference"] < one["high"]
    assert rows["bert"]["difference"]["p_value"] < 0.01 < rows["u-no-transformer"]["difference"]["p_value"]
    assert rows["u"]["difference"] is None and made["reference"] == "u"


def test_a_mean_difference_of_one_run_each_is_the_difference():
    one, other = (records.predicted_turns(record(v.U, seed, 0.5), CONVERSATIONS, LABELS, "file") for seed in (3, 4))
    single = bootstrap.differences(one, other, LABELS)
    assert bootstrap.mean_differences([one], [other], LABELS) == single
    assert bootstrap.mean_differences([one, one], [other], LABELS)["accuracy"] == pytest.approx(single["accuracy"])
    halved = bootstrap.mean_differences([one, other], [other], LABELS)["accuracy"]
    assert halved["difference"] == pytest.approx(single["accuracy"]["difference"] / 2)
    assert halved["low"] == pytest.approx(single["accuracy"]["low"] / 2)


def test_the_markdown(found):
    made, _ = found
    made = copy.deepcopy(made)
    for row, scores in zip(made["rows"], ([0.5, 0.52], [0.61, 0.65], [0.6], [], []), strict=True):
        row["scores"] = dict.fromkeys(row["scores"], scores)
    made["rows"][0]["difference"] = {"difference": -0.12, "low": -0.2, "high": -0.04, "p_value": 0.0004}
    made["rows"][2]["difference"] = {"difference": -0.03, "low": -0.08, "high": 0.02, "p_value": 0.25}
    lines = rendering.markdown(made).splitlines()
    assert lines[0] == "**Utterance context, step by step (the paper's Table 3)**"
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:7]] == [
        ["", "accuracy", "paper", "weighted F1", "paper", "macro F1", "Δ (interval)", "p"],
        [":-----------------", *lines[3].replace(" ", "").strip("|").split("|")[1:]],
        ["BERT alone", "51.0 ± 1.4", "56.7", "51.0 ± 1.4", "56.4", "51.0 ± 1.4", "-12.0 (-20.0 to -4.0)", "< 0.001"],
        ["DialogueTRM-U", "63.0 ± 2.8", "68.2", "63.0 ± 2.8", "68.1", "63.0 ± 2.8", "reference", "-"],
        ["remove transformer", "60.0", "67.4", "60.0", "67.4", "60.0", "-3.0 (-8.0 to +2.0)", "0.250"],
    ]
    assert len({len(line) for line in lines[2:7]}) == 1
    for said in (
        "IEMOCAP test, 6 conversations, 33 turns",
        "1 or 2 seeds a row",
        "best dev weighted F1; the test split chooses nothing",
        "no future turn is seen",
        "from “DialogueTRM-U”",
        "Not run: then remove segment embedding; then remove [SEP] tokens.",
    ):
        assert said in lines[-1]
    assert "Best test epoch" not in lines[-1] and "optimum" not in lines[-1]


def test_the_choice_of_the_best_test_epoch_is_called_by_its_name(found):
    made, _ = found
    made["rows"][1]["best_test_epoch"] = [0.7, 0.72]
    rows = rendering.cells(made)
    assert rows[0][-1] == "best test epoch" and [row[-1] for row in rows[1:]] == ["-", "71.0 ± 1.4", "-"]
    assert "if the test split chose the epoch, as in much of the field: not a result" in rendering.protocol(made)


def test_the_csv_has_every_number_in_full(found):
    made, _ = found
    rows = list(csv.DictReader(io.StringIO(rendering.as_csv(made))))
    assert [row["variant"] for row in rows] == [row["variant"] for row in made["rows"]]
    u, scores = rows[1], made["rows"][1]["scores"]["test.weighted_f1"]
    assert u["seeds"] == "0 1" and float(u["weighted_f1_mean"]) == np.mean(scores)
    assert float(u["weighted_f1_deviation"]) == pytest.approx(np.std(scores, ddof=1))
    assert float(u["weighted_f1_paper"]) == 0.681 and float(u["dev_mean"]) == pytest.approx(0.55)
    assert float(rows[0]["p_value"]) == made["rows"][0]["difference"]["p_value"]
    assert rows[3]["weighted_f1_mean"] == rows[2]["weighted_f1_deviation"] == ""


def test_real_values_are_shown_as_correlations():
    columns = tables.value_columns(("valence", "power"))
    made = {
        "title": "t",
        "columns": [{"path": one.path, "title": one.title} for one in columns],
        "select_by": "pearson_r",
        "reference": "uav",
        "rows": [
            {
                "variant": "u",
                "shown": "U",
                "seeds": [0, 1],
                "scores": {columns[0].path: [0.7, 0.72], columns[1].path: [None, 0.3]},
                "paper": {columns[0].path: 0.73},
                "difference": {"difference": -0.03, "low": -0.05, "high": -0.012, "p_value": 0.02},
                "best_test_epoch": None,
                "optimum": None,
            }
        ],
    }
    assert rendering.cells(made) == [
        ["", "valence r", "paper", "Δ (interval)", "p"],
        ["U", "0.710 ± 0.014", "0.73", "-0.030 (-0.050 to -0.012)", "0.020"],
    ]


def test_times_are_said_as_people_do():
    assert [grid.duration(seconds) for seconds in (4.4, 61, 3599, 3 * 3600 + 300)] == [
        "4 s",
        "1 min",
        "1 h 00 min",
        "3 h 05 min",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.encoder.pretrained": ""}, "an encoder from scratch, K = "),
        ({"model.encoder.pretrained": "minilm"}, "minilm, K = "),
        ({"model.utterance": "features"}, "text as features, K = "),
        ({"model.modalities": "av"}, "no text, K = "),
    ],
)
def test_the_protocol_tells_what_an_utterance_is_read_by(found, changes, told):
    described = found[0] | {"encoder": outcome._encoder(grid.changed(tiny_config(), changes))}
    assert told in rendering.protocol(described)
