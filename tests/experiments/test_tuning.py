"""The table that judges changes of a config on dev, and never reads the test split."""

import json
import shutil

import numpy as np
import pytest

from dtrm_jax.config import from_dict
from dtrm_jax.data import corpus
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.experiments import again, grid, making, pages, records, tuning
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.forest import forest
from dtrm_jax.experiments.grid import Folders
from dtrm_jax.tasks import task_of
from dtrm_jax.training import loop
from tests.runs import tiny_run_config

TRIES = ("names:tokens.speaker_names=true", "far:tokens.window=5", "far:packing.row_lengths=(48,64)")


@pytest.fixture(scope="module")
def config(tmp_path_factory, bag_of_words):
    config = tiny_run_config(tmp_path_factory.mktemp("cache"))
    config.model.architecture = bag_of_words
    config.train.epochs, config.train.save_every_steps = 1, 0
    return config


def make(config, folder, *, seeds=(0, 1), only=(), tries=TRIES):
    folders = Folders(folder / "runs", folder / "records")
    making.run("tuning", config, seeds=seeds, only=only, folders=folders, tries=tries)
    return making.write("tuning", config, seeds=seeds, records_folder=folders.records, tries=tries)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The table of three rows and two seeds."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, make(config, folder)


def dev_scores(folder, row, metric="weighted_f1"):
    files = (folder / f"runs/{row}-seed{seed}/eval/dev/metrics.json" for seed in (0, 1))
    return [json.loads(file.read_text())[metric] for file in files]


def test_dev_is_scored_and_test_is_not_read(whole):
    folder, text = whole
    outcome = json.loads((folder / "records/tuning.json").read_text())
    rows = {row["variant"]: row for row in outcome["rows"]}
    assert list(rows) == ["as-it-is", "names", "far"] and outcome["reference"] == "as-it-is"
    for name, row in rows.items():
        assert row["scores"]["dev.weighted_f1"] == pytest.approx(dev_scores(folder, name)) == row["dev"]
        assert row["scores"]["dev.accuracy"] == pytest.approx(dev_scores(folder, name, "accuracy"))
        assert row["optimum"] is None and row["paper"] is None and row["f1_by_class"] == {}
    assert rows["far"]["changes"] == {"tokens.window": 5, "packing.row_lengths": [48, 64]}
    assert rows["as-it-is"]["changes"] == {}
    assert not list(folder.glob("runs/*/eval/test")) and len(list(folder.glob("runs/*/eval/dev/report.html"))) == 6
    for file in (folder / "records").glob("*-seed*.json"):
        record = json.loads(file.read_text())
        assert record["split"] == "dev" and not {"test", "shifts", "short", "best_test_epoch"} & set(record)
    assert (folder / "records/tuning.md").read_text() == text


def test_the_gain_is_that_of_a_paired_bootstrap_over_dev_conversations(whole, config, tmp_path):
    dataset = corpus.load(config.data)
    dev, task, rng = dataset.splits["dev"], task_of(dataset.labels), np.random.default_rng(0)
    shutil.copytree(whole[0] / "records", tmp_path / "records")

    def guessed(row):
        """Puts other predictions, right ones more often than not, into the records of a row; returns them."""
        runs = []
        for seed in (0, 1):
            file = tmp_path / f"records/{row}-seed{seed}.json"
            guesses = {one.id: np.maximum(dataset.labels.of(one), rng.integers(0, 3, len(one))).tolist() for one in dev}
            file.write_text(json.dumps(json.loads(file.read_text()) | {"predicted": guesses}))
            runs.append([guess for one in dev for guess in guesses[one.id]])
        return runs

    reference, names = guessed("as-it-is"), guessed("names")
    making.write("tuning", config, seeds=(0, 1), records_folder=tmp_path / "records", tries=TRIES)
    found = {row.variant: row.difference for row in pages.read(tmp_path / "records/tuning.json").rows}
    conversation_N = np.repeat(np.arange(len(dev)), [len(one) for one in dev])
    annotated_N = np.concatenate([dataset.labels.of(one) for one in dev])
    statistics = task.statistics(conversation_N, annotated_N, np.array(reference + names))
    assert found["names"] == bootstrap.mean_differences(statistics, 2, task)["weighted_f1"]
    assert found["as-it-is"] is None and found["names"]["difference"] != 0


def test_what_people_read(whole):
    folder, text = whole
    assert text.startswith("**Changes of the config, judged on dev**") and "PLANTED dev, 5 conversations, " in text
    assert "; the test split is not read, and " in text and "the test split chooses nothing" not in text
    assert "The settings: names:tokens.speaker_names=True; far:tokens.window=5; " in text
    assert "| as it is " in text and "reference" in text and "optimum" not in text
    header = (folder / "records/tuning.csv").read_text().partition("\n")[0]
    assert "weighted_f1_mean" in header and "dev.weighted_f1_mean" not in header
    plot = forest(pages.read(folder / "records/tuning.json"))
    assert "PLANTED dev" in plot and "95 % interval of the difference from the reference" in plot


def test_the_command_makes_the_same_rows_again(whole, config):
    outcome = pages.read(whole[0] / "records/tuning.json")
    told = again.command(outcome, "results/x").replace(" \\\n    ", " ")
    words = "--try=names:tokens.speaker_names=True --try=far:tokens.window=5 '--try=far:packing.row_lengths=(48,64)'"
    assert f" {words} " in told
    assert "--seeds=2 --records=results/x" in told and "--only" not in told and "--config.data.source" not in told
    tries = tuning.written(outcome.tries)
    assert all(f"--try={text}" in told.replace("'", "") for text in tries)
    base = from_dict(records.completed(outcome.config))
    for variant in (tuning.AS_IT_IS, *tuning.variants(base, tries)):
        run = grid.run_config(base, variant, 1)
        assert records.read(whole[0] / "records", variant, 1, run, split="dev") is not None


def test_a_row_is_run_once_and_further_ones_are_added(whole, config, tmp_path, monkeypatch):
    shutil.copytree(whole[0] / "records", tmp_path / "records")
    train, trained = loop.train, []
    monkeypatch.setattr(loop, "train", lambda one, folder, **options: trained.append(folder) or train(one, folder))
    text = make(config, tmp_path, seeds=[0], tries=(*TRIES, "slow:optimizer.learning_rate=1e-4"))
    assert [folder.rpartition("/")[2] for folder in trained] == ["slow-seed0"]
    assert "slow:optimizer.learning_rate=0.0001" in text


@pytest.mark.parametrize(
    ("pretrained", "kept"),
    [("{here}/my/encoder", "encoder"), ("my/encoder", "my/encoder"), ("on-the/hub", "on-the/hub")],
)
def test_places_of_one_machine_are_left_out(tmp_path, monkeypatch, pretrained, kept):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my/encoder").mkdir(parents=True)
    config = tiny_run_config(tmp_path / "cache")
    (variant,) = tuning.variants(config, [f"other:model.encoder.pretrained={pretrained.format(here=tmp_path)}"])
    row = making.outcome._changes(variant, grid.row_config(config, variant))
    assert row == {"model.encoder.pretrained": kept}


@pytest.mark.parametrize(
    ("tries", "message"),
    [
        ((), "tuning: --try: expected NAME:SETTING=VALUE, .*, found nothing"),
        (("tokens.window=3",), "--try: expected NAME:SETTING=VALUE, .*, found 'tokens.window=3'"),
        (("a/b:tokens.window=3",), "--try: expected NAME:SETTING=VALUE"),
        (("as-it-is:tokens.window=3",), "--try: as-it-is is the config without a change"),
        (("x:tokens.windw=3",), r"--try: config.tokens.windw: no such setting; did you mean tokens.window\?"),
        (("x:tokens=3",), "--try: config.tokens: no such setting"),
        (("x:tokens.window=many",), "--try: config.tokens.window: .*many"),
        (("x:tokens.window=-1",), r"config.tokens.window: expected .*, found -1"),
        (("x:train.score_test=true",), "config.train.score_test: expected False, as the test split is not read"),
        (("x:data.validation=random",), "tuning: x: expected the conversations and splits of the config, found others"),
    ],
)
def test_what_cannot_be_tried_is_one_line(config, tmp_path, tries, message):
    with pytest.raises(InputError, match=message) as error:
        make(config, tmp_path, tries=tries)
    assert "\n" not in str(error.value)


def test_dev_and_test_do_not_mix(whole, config, tmp_path):
    folders = Folders(tmp_path, whole[0] / "records")
    with pytest.raises(InputError, match="planted: --try is for the table tuning"):
        making.run("planted", config, seeds=[0], only=[], folders=folders, tries=TRIES)
    peeking = tiny_run_config(tmp_path)
    peeking.train.score_test = True
    with pytest.raises(InputError, match="config.train.score_test: expected False, as the test split is not read"):
        make(peeking, tmp_path)
    shutil.copy(whole[0] / "records/as-it-is-seed0.json", tmp_path / "u-seed0.json")
    run = grid.run_config(config, v.U, 0)
    run.train.select_by = "weighted_f1"
    with pytest.raises(InputError, match="u-seed0.json: expected what was scored on test, found dev; use another"):
        records.read(tmp_path, v.U, 0, run)
    record = json.loads((whole[0] / "records/as-it-is-seed0.json").read_text())
    del record["split"]
    (tmp_path / "u-seed0.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="u-seed0.json: expected the record of a run: there are no scores of test"):
        records.read(tmp_path, v.U, 0, run)
