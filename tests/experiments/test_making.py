"""Tables from the command's side: what is run, resumed, kept and refused."""

import json

import numpy as np
import pytest

from dtrm_jax.conversation import MODALITIES, Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data import corpus
from dtrm_jax.data.packing import PLANNER
from dtrm_jax.data.readers import avec
from dtrm_jax.errors import InputError
from dtrm_jax.experiments import cost, grid, making, records
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.grid import Folders
from dtrm_jax.experiments.records import Record
from dtrm_jax.planted import Information, optimal_accuracy
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.starts import add_start
from dtrm_jax.training import loop
from tests.runs import copied, tiny_run_config

FILES = ("planted.md", "planted.csv", "planted.json")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = tiny_run_config(tmp_path_factory.mktemp("cache"))
    config.train.epochs, config.train.save_every_steps, config.train.score_test = 2, 0, True
    return config


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """Records and table of two rows and two seeds, run in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, make(config, folder / "runs", folder / "records")


def make(config, runs, kept, only=("u-free", "u"), seeds=(0, 1)):
    making.run("planted", config, seeds=seeds, only=only, folders=Folders(runs, kept))
    return write(config, kept)


def write(config, kept):
    return making.write("planted", config, seeds=range(2), records_folder=kept)


def read_record(file):
    return Record.from_json(json.loads(file.read_text()))


def test_what_is_kept(whole, config):
    folder, text = whole
    kept = folder / "records"
    assert {path.name for path in kept.iterdir()} == {
        *FILES,
        *(f"{name}-seed{seed}.json" for name in ("u", "u-free") for seed in (0, 1)),
    }
    assert (kept / "planted.md").read_text() == text
    outcome = json.loads((kept / "planted.json").read_text())
    rows = {row["variant"]: row for row in outcome["rows"]}
    assert list(rows) == ["u-free", "u", "ua", "uv", "uav"] and outcome["reference"] == "u"
    test = corpus.load(config.data).splits["test"]
    for name, information in (
        ("u-free", Information("u")),
        ("u", Information("u", "u")),
        ("uav", Information("uav", "u")),
    ):
        assert rows[name]["optimum"] == optimal_accuracy(test, config.data.planted, information).accuracy
    for name in ("u-free", "u"):
        metrics = [
            json.loads((folder / f"runs/{name}-seed{seed}/eval/test/metrics.json").read_text()) for seed in (0, 1)
        ]
        assert rows[name]["scores"]["test.accuracy"] == [one["accuracy"] for one in metrics]
    kept_runs = [read_record(kept / f"u-seed{seed}.json") for seed in (0, 1)]
    assert rows["u"]["best_test_epoch"] == [one.best_test_epoch["weighted_f1"] for one in kept_runs]
    assert rows["u"]["dev"] == [one.dev["weighted_f1"] for one in kept_runs]
    assert rows["uav"]["seeds"] == [] and rows["uav"]["difference"] is None


def test_a_record_holds_the_scores_and_no_text(whole, config):
    record = read_record(whole[0] / "records/u-seed1.json")
    run = whole[0] / "runs/u-seed1"
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    dev, test = ([one for one in logged if one["split"] == split] for split in ("dev", "test"))
    assert len(dev) == len(test) == 2
    assert record.dev["weighted_f1"] == max(one["weighted_f1"] for one in dev)
    assert record.dev["step"] == record.test["step"]
    assert record.best_test_epoch["weighted_f1"] == max(one["weighted_f1"] for one in test)
    # The test scores in the log are those of eval.py at the same step.
    (same,) = [one for one in test if one["step"] == record.test["step"]]
    assert same["weighted_f1"] == pytest.approx(record.test["weighted_f1"])
    conversations = corpus.load(config.data).splits["test"]
    assert {name: len(classes) for name, classes in record.predicted.items()} == {
        one.id: len(one) for one in conversations
    }
    assert list(record.short["texts"]) == ["yeah"] and "conversations" in record.data
    assert record.planner == PLANNER > 1 and record.to_json()["planner"] == PLANNER
    written = (whole[0] / "records/u-seed1.json").read_text()
    assert not any(len(turn.text) > 9 and turn.text in written for one in conversations for turn in one.turns)
    assert str(whole[0]) not in written and config.data.cache not in written


def test_a_record_says_what_its_run_cost(whole, tmp_path, monkeypatch):
    folder = whole[0]
    record = read_record(folder / "records/u-seed1.json")
    kept = json.loads((folder / "runs/u-seed1/cost.json").read_text())
    assert kept["measured"] == 1 and 0 < record.cost["seconds"] == kept["seconds"] < 600
    assert record.cost["complete"] and record.cost["cores"] >= 1
    # What was measured of a run adds up, however it ends; a run that was killed once costs at least that.
    run = RunDirectory(copied(folder / "runs/u-seed1", tmp_path / "run"))
    moments = iter((100.0, 150.0, 0.0))
    monkeypatch.setattr(cost.time, "monotonic", lambda: next(moments))
    with pytest.raises(KeyError), cost.measured(run):
        raise KeyError
    found = cost.cost_of(run)
    assert found.seconds == pytest.approx(kept["seconds"] + 50) and found.complete
    for step in (2, 4):
        add_start(run.starts_file, step, {"machine": {"processor": "P", "cores": 3, "devices": "1 x G (gpu)"}})
    found = cost.cost_of(run)
    assert (found.complete, found.machine, found.cores) == (False, "P, 1 x G (gpu)", 3)
    # What trained it before was not measured, and its evaluation is not its cost.
    (run.path / "cost.json").unlink()
    monkeypatch.undo()
    with cost.measured(run):
        pass
    assert cost.cost_of(run) is None
    with cost.measured(run):
        add_start(run.starts_file, 6, {"machine": {}})
    assert cost.cost_of(run).complete is False
    (run.path / "cost.json").write_text("{")
    assert cost.cost_of(run) is None
    with cost.measured(RunDirectory(tmp_path / "none")):
        pass
    assert not (tmp_path / "none").exists()


def test_an_interrupted_table_ends_like_one_that_ran_through(whole, config, tmp_path, monkeypatch, capsys):
    train, calls = loop.train, []

    def interrupted(changed, folder, **options):
        calls.append(folder)
        if len(calls) == 2:
            raise loop.Interrupted(2, 1)
        return train(changed, folder, **options)

    monkeypatch.setattr(loop, "train", interrupted)
    with pytest.raises(loop.Interrupted):
        make(config, tmp_path / "runs", tmp_path / "records")
    # What there is can be looked at.
    assert "| text (DialogueTRM-U)" not in write(config, tmp_path / "records")
    make(config, tmp_path / "runs", tmp_path / "records")
    assert len(calls) == 5  # the one that was interrupted is begun again, the first is not
    mine, theirs = ({name: (of / "records" / name).read_text() for name in FILES} for of in (tmp_path, whole[0]))
    outcomes = [json.loads(files.pop("planted.json")) for files in (mine, theirs)]
    assert [len(outcome.pop("costs")) for outcome in outcomes] == [4, 4]  # which differ
    assert mine == theirs and outcomes[0] == outcomes[1]
    assert "run 2 of 4: DialogueTRM-U, seed 0\n" in capsys.readouterr().out
    make(config, tmp_path / "runs", tmp_path / "records")
    assert len(calls) == 5


def test_rows_and_seeds_of_several_machines_make_one_table(whole, config, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("nothing is left to run"))
    kept = tmp_path / "records"
    kept.mkdir()
    for name in ("u-seed1", "u-free-seed0", "u-seed0", "u-free-seed1"):
        (kept / f"{name}.json").write_bytes((whole[0] / f"records/{name}.json").read_bytes())
        write(config, kept)
    assert (kept / "planted.md").read_text() == whole[1]
    make(config, tmp_path / "runs", kept, seeds=[1])


def test_what_cannot_be_run_is_one_line(whole, config, tmp_path):
    kept = whole[0] / "records"
    with pytest.raises(InputError, match="--only: expected some of u-free, u, .*, found everything"):
        make(config, tmp_path, tmp_path, only=["everything"])
    other = tiny_run_config(tmp_path)
    other.train.epochs, other.train.score_test = 3, True
    with pytest.raises(
        InputError, match=r"u-free-seed0.json: the run of this table differs: train\.epochs was 2, is 3"
    ):
        make(other, tmp_path, kept)
    with pytest.raises(InputError, match="expected the record of a run of planted, found none"):
        write(config, tmp_path)
    (tmp_path / "u-seed0.json").write_text("{}")
    with pytest.raises(InputError, match="u-seed0.json: expected the record of a run"):
        write(config, tmp_path)
    record = json.loads((kept / "u-seed0.json").read_text())
    (tmp_path / "u-seed0.json").write_text(json.dumps(record | {"data": {"conversations": "0"}}))
    with pytest.raises(InputError, match="u-seed0.json: trained on other conversations than the rest of this table"):
        write(config, tmp_path)
    record["predicted"].pop(next(iter(record["predicted"])))
    (tmp_path / "u-seed0.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="u-seed0.json: expected predictions of the test split's conversations"):
        write(config, tmp_path)
    other.data.name = "meld"
    with pytest.raises(InputError, match=r"planted: expected config.data.name planted, found meld"):
        make(other, tmp_path, tmp_path)


def test_a_setting_that_did_not_exist_yet_had_its_default(whole, config, tmp_path):
    its_config = grid.run_config(config, v.U, 0)
    its_config.train.select_by = "weighted_f1"  # the default of classes, by which the run was selected
    record = json.loads((whole[0] / "records/u-seed0.json").read_text())
    del record["config"]["data"]["test_session"], record["planner"]
    assert Record.from_json(record).planner == 1
    (tmp_path / "u-seed0.json").write_text(json.dumps(record))
    assert records.read(tmp_path, v.U, 0, its_config) == Record.from_json(record)
    its_config.data.test_session = 3
    with pytest.raises(InputError, match=r"data\.test_session was 0, is 3; use another --records or --workdir"):
        records.read(tmp_path, v.U, 0, its_config)
    del record["config"]["train"]["epochs"]
    (tmp_path / "u-seed0.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"u-seed0\.json: .* of a run: config\.train\.epochs: setting"):
        records.read(tmp_path, v.U, 0, its_config)


def test_a_setting_that_older_versions_knew_otherwise_was_as_they_did(whole, config, tmp_path):
    record = json.loads((whole[0] / "records/u-seed0.json").read_text())
    bounded, unbounded = (
        grid.changed(config, {"data.feature_bound": bound, "train.select_by": "weighted_f1"}) for bound in (10.0, 0.0)
    )
    for variant in (v.U, v.M):
        record["config"] = json.loads(json.dumps(records.settings_of(grid.run_config(unbounded, variant, 0))))
        del record["config"]["data"]["feature_bound"]
        records.file_of(tmp_path, variant, 0).write_text(json.dumps(record))
        assert records.read(tmp_path, variant, 0, grid.run_config(unbounded, variant, 0)) is not None
    # A model of text alone has no features that a bound could change.
    assert records.read(tmp_path, v.U, 0, grid.run_config(bounded, v.U, 0)) is not None
    with pytest.raises(InputError, match=r"uav-seed0\.json: .*data\.feature_bound was 0\.0, is 10\.0"):
        records.read(tmp_path, v.M, 0, grid.run_config(bounded, v.M, 0))


def test_what_another_process_has_run_meanwhile_is_not_run_again(whole, config, tmp_path, monkeypatch):
    kept, trained = tmp_path / "records", []
    kept.mkdir()

    def training_while_the_other_finishes(changed, folder, **options):
        trained.append(folder)
        for name in ("u-free-seed0", "u-seed0", "u-free-seed1", "u-seed1"):
            (kept / f"{name}.json").write_bytes((whole[0] / f"records/{name}.json").read_bytes())

    monkeypatch.setattr(loop, "train", training_while_the_other_finishes)
    monkeypatch.setattr(grid, "evaluate_run", lambda *_, **__: None)
    monkeypatch.setattr(grid, "write_report", lambda *_: None)
    monkeypatch.setattr(records, "write", lambda *_, **__: None)
    assert make(config, tmp_path / "runs", kept) == whole[1]
    assert len(trained) == 1


def test_rows_that_the_data_cannot_fill_are_named_before_any_is_run(tmp_path, monkeypatch):
    def spoken(config):
        if "a" in config.model.modalities:
            raise InputError("acoustic features needed")
        return Dataset("MELD", LabelSpace(("x",)), {"test": (Conversation("1", (Turn("1", "A", "hello"),)),)})

    monkeypatch.setattr(making.protocol, "load", spoken)
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("nothing is to be run"))
    config = tiny_run_config(tmp_path)
    config.data.name, config.model.modalities = "meld", "ua"
    expected = "^table6: acoustic features needed; --only=u runs the other rows$"
    with pytest.raises(InputError, match=expected):
        making.run("table6", config, seeds=[0], only=(), folders=Folders(tmp_path, tmp_path))


def test_a_model_or_fusion_of_the_config_that_no_row_has_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grid, "run_all", lambda *_, **__: None)
    config = tiny_run_config(tmp_path)
    config.model.architecture, config.model.fusion.kind, config.model.modalities = "c_lstm", "gmu", "uav"

    def said(table, *only):
        making.run(table, config, seeds=[0], only=only, folders=Folders(tmp_path, tmp_path))
        return [line for line in capsys.readouterr().out.splitlines() if "no row" in line]

    model, fusion = (
        f"no row that is run has config.{one}; a row is what it is called"
        for one in ("model.architecture=c_lstm", "model.fusion.kind=gmu")
    )
    assert said("table2") == [f"table2: {model}", f"table2: {fusion}"]
    assert said("table5", "uav", "uav-gmu") == [f"table5: {model}"]
    config.model.architecture, config.model.fusion.kind = "dialogue_trm", "mgif"
    assert said("table2") == said("baselines") == []


@pytest.mark.parametrize(
    ("features", "configured", "expected"),
    [
        ("", "u", "u-free, u"),
        ("a", "u", "ua-dep"),
        ("av", "u", "uav-dep"),
        ("av", "ua", "ua-dep"),
        ("v", "u", "uv-dep"),
    ],
)
def test_a_table_has_the_rows_of_the_config_or_of_what_the_data_has(
    tmp_path, monkeypatch, features, configured, expected
):
    arrays = {MODALITIES[letter]: np.zeros((1, 2), np.float32) for letter in features}
    spoken = Conversation("1", (Turn("1", "A", "hello", label="x"),), arrays)
    dataset = Dataset("IEMOCAP", LabelSpace(("x",)), {"test": (spoken,)})
    monkeypatch.setattr(making.corpus, "load", lambda _: dataset)
    config = tiny_run_config(tmp_path)
    config.data.name, config.model.modalities = "iemocap", configured
    with pytest.raises(InputError, match=f"^--only: expected some of (?:.*, )?{expected}, found none$"):
        making.run("table4", config, seeds=[0], only=["none"], folders=Folders(tmp_path, tmp_path))


def test_a_table_that_needs_other_modalities_is_refused(tmp_path):
    config = tiny_run_config(tmp_path)
    config.model.modalities = "a"
    for name in ("table3", "table5"):
        with pytest.raises(InputError, match=f"^{name}: has no row for acoustic; config.model.modalities chooses"):
            making.run(name, config, seeds=[0], only=[], folders=Folders(tmp_path, tmp_path))


def test_a_table_of_what_an_encoder_reads_is_refused_on_frozen_vectors(tmp_path, monkeypatch):
    arrays = {"utterance": np.ones((1, 3), np.float32)}
    spoken = Conversation("1", (Turn("1", "A", "hello", label="x"),), arrays)
    monkeypatch.setattr(making.corpus, "load", lambda _: Dataset("x", LabelSpace(("x",)), {"test": (spoken,)}))
    config = tiny_run_config(tmp_path)
    config.model.modalities, config.model.utterance = "u", "features"
    with pytest.raises(InputError, match="^table3: its rows change what an encoder reads, expected config.model.utter"):
        making.run("table3", config, seeds=[0], only=[], folders=Folders(tmp_path, tmp_path))


@pytest.mark.parametrize("name", ["table6", "short"])
def test_shifts_of_real_values_are_refused(tmp_path, monkeypatch, name):
    turns = (Turn("1", "A", "hello", values=(0.1, 0.2, 0.3, 0.4)),)
    of_values = Dataset("AVEC", avec.VALUES, {"test": (Conversation("1", turns),)})
    monkeypatch.setattr(making.protocol, "load", lambda _: of_values)
    config = tiny_run_config(tmp_path)
    config.data.name, config.model.modalities = "avec", "uav"
    with pytest.raises(InputError, match=f"{name}: expected emotions that are classes, AVEC has real values"):
        making.run(name, config, seeds=[0], only=(), folders=Folders(tmp_path, tmp_path))
