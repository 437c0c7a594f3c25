"""Outcomes as Markdown and CSV, and the differences in them."""

import csv
import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dtrm_jax.config import to_dict
from dtrm_jax.conversation import Dataset, ValueSpace
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.experiments import grid, optimum, outcome, published, records, rectified, rendering, tables
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.layout import Column
from dtrm_jax.experiments.outcome import Outcome, RowOutcome
from dtrm_jax.experiments.records import Record
from dtrm_jax.json_file import write_json
from dtrm_jax.tasks import METRICS, Classes, ClassTurn, Targets, Values
from tests.factories import LABELS, random_conversation, tiny_config
from tests.runs import ROOT

CONVERSATIONS = tuple(random_conversation(np.random.default_rng(n), 3 + n, unlabelled=0.1) for n in range(6))
CONVERSATIONS = tuple(type(one)(f"c{number}", one.turns, one.features) for number, one in enumerate(CONVERSATIONS))
DATASET, TASK = Dataset("IEMOCAP", LABELS, {"test": CONVERSATIONS}), Classes(LABELS)


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
    _, labels_N = records.annotations_of(CONVERSATIONS, TASK)
    predicted_N, there_N = np.concatenate(list(predicted.values())), labels_N >= 0
    return Record(
        variant=variant.name,
        seed=seed,
        corpus="IEMOCAP",
        config={},
        test=TASK.scores(labels_N[there_N], predicted_N[there_N]),
        dev={"weighted_f1": 0.5 + seed / 10},
        predicted=predicted,
    )


def turns_of(predicted_N):
    """The rows of ``predictions.csv`` of these predictions."""
    turns = [(one.id, turn) for one in CONVERSATIONS for turn in one.turns]
    return [
        ClassTurn(
            conversation=name,
            turn=turn.id,
            speaker=turn.speaker,
            text=turn.text,
            label=turn.label,
            prediction=LABELS.names[index],
            probabilities=(),
        )
        for (name, turn), index in zip(turns, predicted_N, strict=True)
    ]


@pytest.fixture
def in_paper(monkeypatch):
    """The small corpus is what the paper calls IEMOCAP and MELD."""
    small = published._Published(classes=5, conversations=6, turns=30)
    monkeypatch.setattr(published, "_CORPORA", {"iemocap": small, "meld": small, "avec": published._Published(0)})


@pytest.fixture
def found(monkeypatch, in_paper):
    """Table 3 on a small corpus: the first three rows, two seeds each but for one."""
    kept = {
        ("bert", 0): record(v.BERT, 0, 0.1),
        ("bert", 1): record(v.BERT, 1, 0.1),
        ("u", 0): record(v.U, 0, 0.7),
        ("u", 1): record(v.U, 1, 0.7),
        ("u-no-transformer", 1): record(v.WITHOUT_TRANSFORMER, 1, 0.6),
    }
    monkeypatch.setattr(records, "read", lambda folder, variant, seed, config, **_: kept.get((variant.name, seed)))
    config = tiny_config(data__name="iemocap", train__epochs=4)
    made = outcome.collect(tables.table("table3", "u"), config, DATASET, range(3), Path("folder"))
    return made, kept


def test_differences_are_of_the_mean_over_seeds(found):
    made, kept = found
    rows = {row.variant: row for row in made.rows}
    for name, row in rows.items():
        seeds = [seed for variant, seed in kept if variant == name]
        assert row.seeds == seeds
        assert row.scores["test.weighted_f1"] == [kept[name, seed].test["weighted_f1"] for seed in seeds]
    mean = {name: np.mean(row.scores["test.weighted_f1"]) for name, row in rows.items() if row.seeds}
    for name in ("bert", "u-no-transformer"):
        one = rows[name].difference
        assert one["difference"] == pytest.approx(mean[name] - mean["u"])
        assert one["low"] < one["difference"] < one["high"]
    assert rows["bert"].difference["p_value"] < 0.01 < rows["u-no-transformer"].difference["p_value"]
    assert rows["u"].difference is None and made.reference == "u"


def test_targets_may_have_dots_in_their_names():
    task = Values(ValueSpace(("V", "V.1", "pos.affect")))
    annotated_NxV, predicted_NxV = np.random.default_rng(0).normal(size=(2, 9, 3))
    scores = task.score(Targets(np.full(9, -1), annotated_NxV), predicted_NxV)
    one = dataclasses.replace(record(v.U, 0, 0.5), test=scores)
    for path, _ in task.detailed:
        _, rest = path.split("per_target.")
        name, _, metric = rest.rpartition(".")
        assert one.score(f"test.{path}") == one.test["per_target"][name][metric]


def test_a_mean_difference_of_one_run_each_is_the_difference():
    conversation_N, labels_N = records.annotations_of(CONVERSATIONS, TASK)
    one, other = (records.predictions_of(record(v.U, seed, 0.5), CONVERSATIONS, Path("file")) for seed in (3, 4))

    def differences(first, *others):
        statistics_JxPr = TASK.statistics(conversation_N, labels_N, np.stack([*first, *others]))
        return bootstrap.mean_differences(statistics_JxPr, len(first), TASK)["accuracy"]

    single = {"accuracy": differences([one], other)}
    rows = [turns_of(predicted_N) for predicted_N in (one, other)]
    assert bootstrap.differences(*rows, TASK)["accuracy"] == single["accuracy"]
    assert differences([one, one], other) == pytest.approx(single["accuracy"])
    halved = differences([one, other], other)
    assert halved["difference"] == pytest.approx(single["accuracy"]["difference"] / 2)
    low, high = sorted([0, single["accuracy"]["difference"]])
    assert halved["low"] <= low and high <= halved["high"], "a sample has one of two runs that differ as much as that"


def test_the_markdown(found):
    made, _ = found
    given = ([0.5, 0.52], [0.61, 0.65], [0.6], [], [])
    differences = {
        0: {"difference": -0.12, "low": -0.2, "high": -0.04, "p_value": 0.0004},
        2: {"difference": -0.03, "low": -0.08, "high": 0.02, "p_value": 0.25},
    }
    rows = [
        dataclasses.replace(row, scores=dict.fromkeys(row.scores, scores), difference=differences.get(index))
        for index, (row, scores) in enumerate(zip(made.rows, given, strict=True))
    ]
    made = dataclasses.replace(made, rows=rows)
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
        "IEMOCAP test, 6 conversations, 30 labelled turns of 33;",
        "1 or 2 seeds a row",
        "best dev weighted F1; the test split chooses nothing",
        "no future turn is seen",
        "from “DialogueTRM-U”",
        "Not run: then remove segment embedding; then remove [SEP] tokens.",
    ):
        assert said in lines[-1]
    assert "Best test epoch" not in lines[-1] and "optimum" not in lines[-1]


def test_the_turns_that_are_told_are_those_that_are_scored(found):
    made, kept = found
    assert made.scored == kept["u", 0].test["n"] == sum(bool(turn.label) for one in CONVERSATIONS for turn in one.turns)
    assert made.scored < made.turns == 33
    for scored in (None, 33):  # of an older file, or all
        told = rendering.protocol(dataclasses.replace(made, scored=scored))
        assert "6 conversations, 33 turns; " in told


def test_a_table_says_which_rows_see_the_future(found, monkeypatch):
    config = tiny_config(data__name="iemocap", tokens__future=1)
    ahead = outcome.collect(tables.table("table3", "u"), config, DATASET, range(3), Path("folder"))
    assert not any(row.causal for row in ahead.rows) and all(row.causal for row in found[0].rows)
    assert "Rows marked “not causal” see future turns; no row is causal." in rendering.protocol(ahead)
    assert "no future turn is seen" not in rendering.protocol(ahead)
    mixed = dataclasses.replace(ahead, rows=[ahead.rows[0], *found[0].rows[1:]])
    assert [row[0] for row in rendering.cells(mixed)[1:3]] == ["BERT alone (not causal)", "DialogueTRM-U"]
    assert [line.split(",")[1] for line in rendering.as_csv(mixed).splitlines()[1:3]] == [
        "BERT alone (not causal)",
        "DialogueTRM-U",
    ]
    assert "the other rows are causal" in rendering.protocol(mixed)
    again = Outcome.from_json(json.loads(json.dumps(mixed.to_json())))
    assert rendering.markdown(again) == rendering.markdown(mixed)


def test_turns_that_other_modalities_rectify_are_counted_by_label_and_origin():
    labels = ("neutral", "sad", "frustrated")
    true = np.array([0, 0, 0, 2, 1, -1, 2])
    first = {0: np.array([1, 2, 0, 1, 1, 0, 2]), 1: np.array([1, 0, 0, 0, 1, 0, 2]), 5: true}
    second = {0: np.array([0, 0, 1, 2, 1, 1, 2]), 1: np.array([0, 0, 0, 2, 0, 1, 2]), 7: true}
    found = rectified.between(first, second, true, labels)
    assert found == {
        "pairs": 2,
        "labels": list(labels),
        "rectified": [[0, 2, 1], [0, 0, 0], [1, 1, 0]],
        "spoiled": [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    }
    assert rectified.rows(found, "iemocap") == [
        ["label", "share", "paper", "taken for a negative emotion", "paper", "most often taken for"],
        ["neutral", "60.0", "30.4", "100.0", "85.4", "sad"],
        ["sad", "0.0", "-", "-", "-", "-"],
        ["frustrated", "40.0", "27.9", "50.0", "70.5", "neutral"],
    ]
    assert rectified.rows(found, "meld")[1] == ["neutral", "60.0", "100.0", "sad"]
    assert rectified.rows(found, "iemocap", "*")[1] == ["neutral", "60.0", "30.4*", "100.0", "85.4*", "sad"]
    assert "2 turns, mean of 2 pairs of runs" in rectified.told(found) and "the reverse: 1 turns" in rectified.told(
        found
    )
    assert rectified.between({0: true}, {1: true}, true, labels) is None


def test_the_table_of_short_utterances_tells_what_is_rectified(monkeypatch, in_paper):
    kept = {(one.name, 0): record(one, 0, right) for one, right in ((v.U, 0.4), (v.full("ua"), 0.8), (v.U_FREE, 0.3))}
    short = {"one_word": {"accuracy": 0.5}, "texts": {"yeah": {"accuracy": 0.5, "n": 33}}}
    kept = {key: dataclasses.replace(one, short=short) for key, one in kept.items()}
    monkeypatch.setattr(records, "read", lambda folder, variant, seed, config, **_: kept.get((variant.name, seed)))
    config = tiny_config(data__name="iemocap", model__modalities="ua")
    made = outcome.collect(tables.table("short", "ua"), config, DATASET, range(1), Path("folder"))
    _, true_N = records.annotations_of(CONVERSATIONS, TASK)
    u_N, ua_N = (np.concatenate(list(kept[name, 0].predicted.values())) for name in ("u", "ua"))
    mended = int(((u_N != true_N) & (ua_N == true_N)).sum())
    assert np.sum(made.rectified["rectified"]) == mended > 0 and made.rectified["pairs"] == 1
    assert f"right with all modalities: {mended} turns, whose shares" in rendering.markdown(made)
    said = "“yeah” is 33 turns, whatever the case and the punctuation"
    assert f"{said}; the paper counts “yeah.” 23 times." in rendering.protocol(made)
    elsewhere = rendering.protocol(dataclasses.replace(made, corpus="planted"))
    assert f"{said}. " in elsewhere and "the paper counts" not in elsewhere
    assert "yeah" not in rendering.protocol(dataclasses.replace(made, studied=None))  # of an older file
    # The paper's shares are of a model that takes the face, too. They stand beside tables of its corpus as well.
    own = dataclasses.replace(DATASET, name="table")
    of_iemocap = grid.changed(config, {"data.name": "table", "data.corpus": "iemocap"})
    shares = (12.3, 45.6)
    monkeypatch.setattr(rectified, "_PAPER", {"calm": shares})
    for one in (made, outcome.collect(tables.table("short", "ua"), of_iemocap, own, range(1), Path("folder"))):
        assert f"| {shares[0]}* |" in rendering.markdown(one) and f"| {shares[1]}* |" in rendering.markdown(one)
    four = outcome.collect(
        tables.table("short", "ua"), grid.changed(config, {"data.labels": "four"}), DATASET, range(1), Path("folder")
    )
    assert f"{shares[0]}*" not in rendering.markdown(four)
    whole = outcome.collect(tables.table("table2", "ua"), config, DATASET, range(1), Path("folder"))
    assert whole.studied == 33 and "yeah" not in rendering.protocol(whole)  # which has no column of it
    # With text alone there is nothing to compare.
    alone = outcome.collect(tables.table("short", "u"), config, DATASET, range(1), Path("folder"))
    assert alone.rectified is None and "rectified" not in rendering.markdown(alone)


def test_no_path_of_one_machine_is_kept(tmp_path):
    config = tiny_config(model__encoder__pretrained=str(tmp_path / "mpnet"), train__init_from="runs/meld/u-seed0")
    kept = records.settings_of(config)
    assert kept["model"]["encoder"]["pretrained"] == "mpnet" and kept["train"]["init_from"] == "runs/meld/u-seed0"
    # A record that has it all the same is that of the same run.
    one = dataclasses.replace(record(v.U, 0, 0.5), config=json.loads(json.dumps(to_dict(config))))
    write_json(records.file_of(tmp_path, v.U, 0), one.to_json())
    config.model.encoder.pretrained = "/elsewhere/mpnet"
    assert records.read(tmp_path, v.U, 0, config) == one


def test_a_table_of_last_checkpoints_says_that_dev_chose_nothing(found):
    made, _ = found
    assert "checkpoint is the one with the best dev weighted F1; the test split" in rendering.protocol(made)
    config = made.config | {"train": made.config["train"] | {"select_last": True, "epochs": 7}}
    told = rendering.protocol(dataclasses.replace(made, config=config))
    assert "checkpoint is its last one, after 4 epochs: dev chooses nothing here; the test split" in told
    # An older file says nothing of its rows.
    rows = [dataclasses.replace(row, epochs=None) for row in made.rows]
    told = rendering.protocol(dataclasses.replace(made, config=config, rows=rows))
    assert "after 7 epochs: dev chooses nothing here; the test split" in told


def test_baselines_can_be_made_of_last_checkpoints_after_the_epochs_of_each(monkeypatch):
    config, table = tiny_config(data__name="iemocap", train__epochs=4), tables.table("baselines", "u", "iemocap")
    variants = {row.variant.name: row.variant for row in table.rows}
    assert grid.run_config(config, variants["tl-erc-u"], 0).train.patience == 10
    config.train.select_last = True
    configs = {name: grid.run_config(config, variant, 0) for name, variant in variants.items()}
    assert not any(one.train.patience for one in configs.values())
    assert (configs["u"].train.epochs, configs["tl-erc-u"].train.epochs) == (4, 50)

    def told(*run):
        kept = {name: record(variants[name], 0, 0.5) for name in run}
        monkeypatch.setattr(records, "read", lambda folder, variant, seed, config, **_: kept.get(variant.name))
        return rendering.protocol(outcome.collect(table, config, DATASET, range(1), Path("folder")))

    assert "is its last one, after 4 epochs: dev chooses nothing here" in told("u", "bert")
    assert "is its last one, after as many epochs as its row has, 4 to 50: dev chooses" in told("u", "tl-erc-u")


def test_a_number_of_the_paper_that_is_of_other_modalities_is_marked(monkeypatch, in_paper):
    kept = {("u", 0): record(v.U, 0, 0.6), ("ua", 0): record(v.full("ua"), 0, 0.7)}
    monkeypatch.setattr(records, "read", lambda folder, variant, seed, config, **_: kept.get((variant.name, seed)))
    config = tiny_config(data__name="iemocap", model__modalities="ua")

    def made(dataset, config=config):
        return outcome.collect(tables.table("table2", "ua"), config, dataset, range(1), Path("folder"))

    found = made(DATASET)
    assert [(row[0], row[4]) for row in rendering.cells(found)[1:]] == [
        ("DialogueTRM-U", "68.1"),
        ("DialogueTRM-M (utterance, acoustic)", "69.7*"),
    ]
    assert "* The paper's row takes other modalities: utterance, acoustic, visual." in rendering.protocol(found)
    rows = list(csv.DictReader(io.StringIO(rendering.as_csv(found))))
    assert [row["paper_modalities"] for row in rows] == ["", "uav"] and rows[1]["weighted_f1_paper"] == "0.697"
    # On MELD the paper has no visual features, either.
    on_meld = made(dataclasses.replace(DATASET, name="MELD"))
    assert rendering.cells(on_meld)[2][4] == "63.5" and "other modalities" not in rendering.protocol(on_meld)
    assert "paper_modalities" not in rendering.as_csv(on_meld)
    # One's own tables are of a corpus if the config says so.
    own = dataclasses.replace(DATASET, name="table")
    of_meld = tiny_config(data__name="table", data__corpus="meld", model__modalities="ua")
    assert [rendering.cells(made(own, of_meld))[row][4] for row in (1, 2)] == ["63.2", "63.5"]
    assert "paper" not in rendering.cells(made(own, tiny_config(data__name="table", model__modalities="ua")))[0]


@pytest.mark.parametrize(
    ("changes", "paper", "told"),
    [
        ({"data.labels": "four"}, {}, "IEMOCAP test (classes: four), 6 conversations, "),
        ({"data.test_session": 3}, {}, "IEMOCAP test (session 3), 6 conversations, "),
        ({"data.labels": "four", "data.test_session": 3}, {}, "IEMOCAP test (classes: four; session 3), 6 "),
        ({"data.name": "meld", "data.labels": "sentiment"}, {}, "MELD test (classes: sentiment), 6 conversations, "),
        # The dyadic files of MELD have other conversations, and people's own tables may have other turns or classes.
        ({"data.name": "meld"}, {"conversations": 5}, "MELD test, 6 conversations, "),
        ({"data.name": "table", "data.corpus": "meld"}, {"turns": 31}, "MELD test, 6 conversations, "),
        ({"data.name": "table", "data.corpus": "meld"}, {"classes": 4}, "MELD test, 6 conversations, "),
    ],
    ids=str,
)
def test_no_number_of_the_paper_stands_beside_other_classes_or_another_test_split(
    monkeypatch, in_paper, changes, paper, told
):
    kept = {("u", 0): record(v.U, 0, 0.6), ("ua", 0): record(v.full("ua"), 0, 0.7)}
    monkeypatch.setattr(records, "read", lambda folder, variant, seed, config, **_: kept.get((variant.name, seed)))
    config = grid.changed(tiny_config(data__name="iemocap", model__modalities="ua"), changes)
    dataset = dataclasses.replace(DATASET, name=config.data.name)

    def collected():
        return outcome.collect(tables.table("table2", "ua"), config, dataset, range(1), Path("folder"))

    if paper:
        assert collected().rows[0].paper
        small = dataclasses.replace(published._CORPORA["meld"], **paper)
        monkeypatch.setitem(published._CORPORA, "meld", small)
    found = collected()
    assert [(row.paper, row.paper_modalities) for row in found.rows] == [(None, ""), (None, "")]
    text = rendering.markdown(found)
    assert told in text and "The paper has no number of these classes and this test split." in text
    assert "paper |" not in text and "other modalities" not in text


def test_what_the_paper_scores_is_told_from_the_numbers_of_classes_conversations_and_turns():
    def told(data=None, *, corpus="meld", classes=7, conversations=280, turns=2610):
        data = {"name": corpus, "corpus": "", "labels": "", "test_session": 0} | (data or {})
        return published.as_published(corpus, data, classes=classes, conversations=conversations, turns=turns)

    assert told() == told(turns=2608) == "meld"  # as two have no voice
    assert told(corpus="iemocap", classes=6, conversations=31, turns=1623) == "iemocap"
    named = "neutral,joy,fear,anger,surprise,sadness,disgust"
    assert told({"name": "table", "corpus": "meld", "labels": named}, corpus="table") == "meld"
    assert told(corpus="avec", classes=0, conversations=9, turns=99) == "avec"
    assert told(turns=2500) == told(conversations=281) == told(classes=3) == told({"labels": "sentiment"}) == ""
    assert told(corpus="planted") == told({"name": "table", "labels": named}, corpus="table") == ""


def test_the_scores_of_a_detailed_table_are_all_of_each_value():
    table, task = tables.table("modalities", "ua"), Values(ValueSpace(("valence", "power")))
    assert [column.title for column in tables.columns_of(table, task, "pearson_r")] == [
        *("valence r", "valence MAE", "valence CCC"),
        *("power r", "power MAE", "power CCC"),
    ]
    paths = [column.path for column in tables.columns_of(table, TASK, "weighted_f1")]
    assert paths == ["test.accuracy", "test.weighted_f1", "test.macro_f1"]


def test_the_best_possible_accuracy_is_known_of_the_past_alone():
    row = tables.table("planted", "uav").rows[0]
    assert optimum.optimum(grid.row_config(tiny_config(data__name="planted", tokens__future=1), row.variant)) is None


@pytest.mark.parametrize(
    ("variant", "remembered"),
    [
        (v.BERT, ""),
        (v.U_FREE, ""),
        (v.U, "u"),
        (v.WITHOUT_TRANSFORMER, None),  # the speaker's own earlier text alone
        (v.WITHOUT_SEPARATOR, None),
        (v.in_context("uav", "av"), "av"),
        (v.with_fusion("uav", "mult"), "uav"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_model_remembers_what_its_transformers_and_its_fusion_see(variant, remembered):
    config = grid.row_config(tiny_config(data__name="planted"), variant)
    assert optimum._remembered(config) == remembered
    if remembered is None:
        assert optimum.optimum(config) is None
        config.model.utterance = "features"  # vectors of single utterances hold nothing of others
        assert optimum._remembered(config) == ""


def test_without_a_transformer_no_feature_is_remembered():
    config = grid.row_config(tiny_config(data__name="planted", model__intra_modal__layers=0), v.in_context("av", "av"))
    assert optimum._remembered(config) == ""


def test_the_choice_of_the_best_test_epoch_is_called_by_its_name(found):
    made, _ = found
    made.rows[1] = dataclasses.replace(made.rows[1], best_test_epoch=[0.7, 0.72])
    rows = rendering.cells(made)
    assert rows[0][-1] == "best test epoch" and [row[-1] for row in rows[1:]] == ["-", "71.0 ± 1.4", "-"]
    assert "if the test split chose the epoch, as in much of the field: not a result" in rendering.protocol(made)


def test_the_csv_has_every_number_in_full(found):
    made, _ = found
    rows = list(csv.DictReader(io.StringIO(rendering.as_csv(made))))
    assert [row["variant"] for row in rows] == [row.variant for row in made.rows]
    u, scores = rows[1], made.rows[1].scores["test.weighted_f1"]
    assert u["seeds"] == "0 1" and float(u["weighted_f1_mean"]) == np.mean(scores)
    assert float(u["weighted_f1_deviation"]) == pytest.approx(np.std(scores, ddof=1))
    assert float(u["weighted_f1_paper"]) == 0.681 and float(u["dev_mean"]) == pytest.approx(0.55)
    assert float(rows[0]["p_value"]) == made.rows[0].difference["p_value"]
    assert rows[3]["weighted_f1_mean"] == rows[2]["weighted_f1_deviation"] == ""


def test_real_values_are_shown_as_correlations(found):
    columns = tables.columns_of(tables.table("table2", "uav"), Values(ValueSpace(("valence", "power"))), "pearson_r")
    row = RowOutcome(
        variant="u",
        shown="U",
        seeds=[0, 1],
        scores={columns[0].path: [0.7, 0.72], columns[1].path: [None, 0.3]},
        f1_by_class={},
        dev=[0.7, 0.7],
        paper={columns[0].path: 0.73},
        difference={"difference": -0.03, "low": -0.05, "high": -0.012, "p_value": 0.02},
        best_test_epoch=None,
        optimum=None,
    )
    made = dataclasses.replace(found[0], columns=list(columns), select_by="pearson_r", reference="uav", rows=[row])
    assert rendering.cells(made) == [
        ["", "valence r", "paper", "Δ (interval)", "p"],
        ["U", "0.710 ± 0.014", "0.73", "-0.030 (-0.050 to -0.012)", "0.020"],
    ]


@pytest.mark.parametrize(
    ("table", "emotions", "select_by", "told"),
    [
        ("table2", TASK, "weighted_f1", "in weighted F1 from"),
        ("short", TASK, "macro_f1", "in macro F1 from"),  # a column of its own
        (
            "table2",
            Values(ValueSpace(("valence", "power"))),
            "pearson_r",
            "in Pearson r, averaged over the values, from",
        ),
    ],
)
def test_it_is_said_over_what_the_differences_are(found, table, emotions, select_by, told):
    columns = tables.columns_of(tables.table(table, "uav"), emotions, select_by)
    made = dataclasses.replace(found[0], columns=list(columns), select_by=select_by)
    assert f"Δ: difference {told}" in rendering.protocol(made)
    # As older tables of short utterances, which do not show the score itself.
    made = dataclasses.replace(made, columns=[one for one in columns if one.metric.name != select_by])
    assert f"{METRICS[select_by].title} over all turns from" in rendering.protocol(made)


@pytest.mark.parametrize(
    ("over_seeds", "seeds", "told"),
    [
        (True, (2, 3, 2), "by a bootstrap over conversations, the same for both, and over seeds (10,000 resamples)."),
        (True, (1, 2, 2), "seeds (10,000 resamples), which leaves training's randomness out of rows with one seed."),
        (True, (1, 1, 1), "by a paired bootstrap over conversations (10,000 resamples), which leaves training's"),
        (False, (3, 3, 3), "by a paired bootstrap over conversations (10,000 resamples), which leaves training's"),
    ],
)
def test_it_is_said_what_is_resampled(found, over_seeds, seeds, told):
    made = found[0]
    rows = [
        dataclasses.replace(row, seeds=[*range(count)]) for row, count in zip(made.rows, (*seeds, 0, 0), strict=True)
    ]
    assert told in rendering.protocol(dataclasses.replace(made, rows=rows, over_seeds=over_seeds))
    assert made.over_seeds


def test_the_caption_of_shifts_says_what_they_are(found):
    columns, shifts = list(tables.table("table6", "u").columns), {"intra": 13.2, "inter": 22.0}
    assert (
        "Intra-ES (own emotion changed) 13.2, Inter-ES (unlike the turn before, whoever spoke it) 22.0 a conversation."
    ) in rendering.protocol(dataclasses.replace(found[0], columns=columns, shifts=shifts))


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
    described = dataclasses.replace(found[0], encoder=outcome._encoder(grid.changed(tiny_config(), changes)))
    assert told in rendering.protocol(described)


def test_an_outcome_comes_back_from_its_file(found):
    written = json.loads(json.dumps(found[0].to_json()))
    assert Outcome.from_json(written).to_json() == written
    assert rendering.markdown(Outcome.from_json(written)) == rendering.markdown(found[0])
    with pytest.raises(TypeError, match="other"):
        Outcome.from_json(written | {"other": 1})


@pytest.mark.parametrize(
    "file", sorted((ROOT / "results").glob("*/*.md")), ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_the_stored_outcomes_are_rendered_byte_for_byte(file):
    outcome = Outcome.from_json(json.loads(file.with_suffix(".json").read_text(encoding="utf-8")))
    assert rendering.markdown(outcome) == file.read_text(encoding="utf-8")
    assert rendering.as_csv(outcome) == file.with_suffix(".csv").read_bytes().decode()


def test_the_stored_records_are_read():
    files = [file for file in (ROOT / "results").glob("*/*-seed*.json")]
    assert len(files) > 50
    for file in files:
        written = json.loads(file.read_text(encoding="utf-8"))
        assert Record.from_json(written).to_json() == written
        places = (written["config"]["model"]["encoder"]["pretrained"], written["config"]["train"].get("init_from", ""))
        assert not any(map(os.path.isabs, places)), f"{file}: leave the last part of the path"


def test_every_column_has_the_scale_of_its_own_metric():
    """Selected by a score that is no percentage, percentages are shown as such, beside the paper's."""
    columns = [Column("test.accuracy", "accuracy"), Column("test.pearson_r", "Pearson r")]
    row = RowOutcome(
        variant="u",
        shown="U",
        seeds=[0],
        scores={"test.accuracy": [0.625], "test.pearson_r": [0.3]},
        f1_by_class={},
        dev=[0.3],
        paper={"test.accuracy": 64.6, "test.pearson_r": 0.33},
        difference=None,
        best_test_epoch=None,
        optimum=None,
    )
    outcome = Outcome(
        table="table2",
        title="",
        corpus="corpus",
        encoder="",
        conversations=1,
        turns=2,
        select_by="pearson_r",
        reference=None,
        columns=columns,
        rows=[row],
        shifts=None,
        config={"tokens": {"window": 3}},
    )
    assert rendering.cells(outcome)[1] == ["U", "62.5", "64.6", "0.300", "0.33"]
    assert rendering.as_csv(outcome).splitlines()[1].split(",")[3:9] == ["0.625", "", "0.646", "0.3", "", "0.33"]
