"""The log of training: its loggers, and the time left."""

import json
import sys
import threading
import types

import pytest

from dtrm_jax import settings
from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.training import log as log_module
from dtrm_jax.training import loggers
from dtrm_jax.training.log import Bar, TrainingLog

RECORDS = [
    {"step": 2, "epoch": 1, "split": "train", "loss": 1.5},
    {"step": 2, "epoch": 1, "split": "dev", "loss": 1.25, "f1_so-so!": None, "f1_joy (mild)!": 0.5},
]


def _config(names: str) -> Config:
    config = Config(name="mine")
    config.train.loggers = names
    return config


@pytest.fixture
def mlflow(monkeypatch):
    """A module with what is used of MLflow, which keeps what it is told."""
    told = types.SimpleNamespace(runs={}, metrics=[], params=[], ended=[], alive=True)

    class Client:
        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"experiment {name}"

        def create_run(self, experiment_id, run_name):
            run_id = f"run {len(told.runs)}"
            told.runs[run_id] = (experiment_id, run_name)
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id))

        def update_run(self, run_id, status):
            assert run_id in told.runs and status == "RUNNING"

        def log_batch(self, run_id, metrics=(), params=()):
            if not told.alive:
                raise ConnectionError("the server is gone\nfor good")
            assert len(params) <= 100
            told.params += params
            told.metrics += [(run_id, *metric) for metric in metrics]

        def set_terminated(self, run_id):
            told.ended.append(run_id)

    entities = types.ModuleType("mlflow.entities")
    entities.Metric = lambda name, value, timestamp, step: (name, value, step)
    entities.Param = lambda key, value: (key, value)
    module = types.ModuleType("mlflow")
    module.MlflowClient, module.entities, module.__spec__ = Client, entities, object()
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delitem(sys.modules, "dtrm_jax.training.loggers.ml_flow", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    yield told
    sys.modules.pop("dtrm_jax.training.loggers.ml_flow", None)


def test_mlflow_gets_settings_and_measurements_and_a_resumed_run_goes_on(mlflow, tmp_path):
    run = RunDirectory(tmp_path)
    for start in (0, 2):
        with TrainingLog(run, _config("mlflow"), start) as log:
            for record in RECORDS[start:]:
                log.write(record)
    assert mlflow.runs == {"run 0": ("experiment dtrm_jax", "mine")} and mlflow.ended == ["run 0", "run 0"]
    params = dict(mlflow.params)
    assert params.keys() == {path for path, *_ in settings.leaves(Config())}
    assert params["packing.row_lengths"] == "[64, 128]" and params["name"] == "mine"
    shown = [(name, value, step) for _, name, value, step in mlflow.metrics if "epoch" not in name]
    assert shown == [("train/loss", 1.5, 2), ("dev/loss", 1.25, 2), ("dev/f1_joy _mild__", 0.5, 2)]
    assert list(read_records(run.metrics_file)) == RECORDS
    assert not run.tensorboard.exists()


def test_a_logger_that_fails_ends_alone_and_says_so_once(mlflow, tmp_path, capsys):
    run = RunDirectory(tmp_path)
    with TrainingLog(run, _config("tensorboard, mlflow"), 0) as log:
        mlflow.alive = False
        for step in range(1, 4):
            log.write({"step": step, "split": "train", "loss": 1.0})
    assert [record["step"] for record in read_records(run.metrics_file)] == [1, 2, 3]
    assert list(run.tensorboard.glob("events.*"))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line == (
        "warning: config.train.loggers: mlflow failed at step 1 and gets no more (ConnectionError: the server is gone "
        "for good); training is not affected, metrics.jsonl has all"
    )


def test_a_logger_that_hangs_is_not_waited_for(mlflow, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(loggers.apart, "PATIENCE", 0.05)
    released = threading.Event()
    opened = loggers.open_loggers(RunDirectory(tmp_path), _config("mlflow"), 0)
    monkeypatch.setattr(opened[0]._logger, "write", lambda record: released.wait(60))
    opened[0].write(RECORDS[0])
    opened[0].close()
    assert "mlflow was not done 0.05 s after the training" in capsys.readouterr().err
    released.set()


def test_wandb_gets_settings_and_measurements_and_a_resumed_run_goes_on(monkeypatch, tmp_path):
    begun, logged, finished = [], [], []

    def init(**arguments):
        begun.append(arguments)
        return types.SimpleNamespace(
            id=arguments["id"] or "abc",
            log=lambda values, step: logged.append((step, values)),
            finish=lambda: finished.append(True),
        )

    module = types.ModuleType("wandb")
    module.init, module.__spec__ = init, object()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delitem(sys.modules, "dtrm_jax.training.loggers.weights_and_biases", raising=False)
    for start in (0, 2):
        with TrainingLog(RunDirectory(tmp_path), _config("wandb"), start) as log:
            for record in RECORDS[start:]:
                log.write(record)
    sys.modules.pop("dtrm_jax.training.loggers.weights_and_biases")
    assert [one["id"] for one in begun] == [None, "abc"] and len(finished) == 2
    assert begun[0]["config"]["train.epochs"] == Config().train.epochs
    assert logged[0] == (2, {"train/epoch": 1, "train/loss": 1.5}) and len(logged) == 2


def test_loggers_that_are_not_there_are_refused_before_anything_is_read(monkeypatch):
    known = ", ".join(loggers.LOGGERS)
    with pytest.raises(InputError, match=f"config.train.loggers: expected one of {known}, found 'tb'"):
        loggers.named(_config("tensorboard,tb"))
    own = loggers.Kind(module="mine")
    monkeypatch.setitem(loggers.LOGGERS, "own", own)
    assert loggers.named(_config("own")) == {"own": own}  # which needs no package
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"wandb needs the package wandb, .* not installed, run: pip install wandb$"):
        loggers.named(_config("wandb"))
    assert loggers.named(_config("")) == {}


def test_a_server_that_cannot_be_reached_at_the_start_is_one_line(mlflow, tmp_path):
    mlflow.alive = False
    with pytest.raises(InputError, match=r"mlflow cannot be opened \(ConnectionError: the server is gone for good\)"):
        TrainingLog(RunDirectory(tmp_path), _config("mlflow"), 0)


def test_names_in_loggers_that_are_no_object_are_refused_at_the_start(mlflow, tmp_path):
    run = RunDirectory(tmp_path)
    run.logged_as.write_text("[]")
    with pytest.raises(InputError, match=r"loggers\.json: expected a JSON object, found list"):
        TrainingLog(run, _config("mlflow"), 0)


def test_a_run_without_loggers_has_its_log(tmp_path):
    with TrainingLog(RunDirectory(tmp_path), _config(""), 0) as log:
        log.write(RECORDS[0])
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == RECORDS[0]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_time_left_counts_neither_the_first_step_nor_the_first_evaluation(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(log_module.time, "perf_counter", lambda: clock[0])
    bar = Bar(total=10, initial=3, disable=False, file=sys.stderr)

    def step(seconds):
        clock[0] += seconds
        bar.update()

    assert bar.format_dict["rate"] is None
    step(100)  # compiles
    assert bar.format_dict["rate"] is None and "<?" in str(bar)
    step(2)
    step(4)
    assert bar.format_dict["rate"] == pytest.approx(2 / 6)
    assert "<00:12" in str(bar), "four steps are left"
    clock[0] += 1
    with bar.uncounted():
        clock[0] += 50
    step(2)
    assert bar.format_dict["rate"] == pytest.approx(3 / 9)
    clock[0] += 3  # an evaluation, later
    step(3)
    assert bar.format_dict["rate"] == pytest.approx(4 / 15)
    bar.close()


def test_a_log_with_damaged_lines_keeps_the_good_ones_and_says_so(tmp_path, capsys):
    run = RunDirectory(tmp_path)
    good = [json.dumps(record) for record in RECORDS]
    content = "\n".join([good[0], "[1]", *good[1:], '{"step": 9, "spl']).encode().replace(b"[1]", b"[1]\n\xff")
    run.metrics_file.write_bytes(content)
    with TrainingLog(run, _config(""), 9):
        pass
    assert list(read_records(run.metrics_file)) == RECORDS
    aside = tmp_path / "metrics-damaged-at-9.jsonl"
    assert aside.read_bytes() == content
    said = capsys.readouterr().err
    assert said == f"{run.metrics_file}: 2 lines, the first line 2, are no records of training and left out; " + (
        f"{aside.name} has them\n"
    )
    with TrainingLog(run, _config(""), 9):
        assert capsys.readouterr().err == ""
