"""The loop: resuming bit for bit, selection on dev, early stopping, logs, refusals."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.checkpoints import Checkpoints
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.run_directory.pruning import prune
from dtrm_jax.training import loop, meter
from dtrm_jax.training.meter import Meter
from dtrm_jax.training.step import AXIS
from tests.runs import assert_same_state, records, saved_state, tiny_run_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.train(tiny_run_config(cache), str(workdir))
    return workdir


@pytest.fixture
def small(cache: Path, bag_of_words: str) -> Config:
    """The config of a model that compiles in a second, for what no model has a part in."""
    config = tiny_run_config(cache)
    config.model.architecture = bag_of_words
    return config


def _signal_at(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Sends this process a signal while step ``step`` runs."""
    parallelise = loop.parallelise

    def sending(train_step, mesh):
        compiled, calls = parallelise(train_step, mesh), 0

        def run(*arguments):
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), number)
            return compiled(*arguments)

        return run

    monkeypatch.setattr(loop, "parallelise", sending)


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 3), (signal.SIGINT, 4)])
def test_a_run_that_was_signalled_resumes_bit_for_bit(whole, cache, tmp_path, monkeypatch, number, step):
    with monkeypatch.context() as patch:
        _signal_at(patch, step, number)
        with pytest.raises(loop.Interrupted, match=f"step {step};") as caught:
            loop.train(tiny_run_config(cache), str(tmp_path))
    assert caught.value.signal_number == number
    assert saved_state(tmp_path)[0] == step
    loop.train(tiny_run_config(cache), str(tmp_path))
    assert_same_state(saved_state(tmp_path), saved_state(whole))
    assert_same_state(saved_state(tmp_path, "best"), saved_state(whole, "best"))


def test_a_signal_in_the_last_step_is_not_lost(whole, cache, tmp_path, monkeypatch, capsys):
    last = saved_state(whole)[0]
    with monkeypatch.context() as patch:
        _signal_at(patch, last, signal.SIGINT)
        with pytest.raises(loop.Interrupted, match=f"step {last};"):
            loop.train(tiny_run_config(cache), str(tmp_path))
    assert_same_state(saved_state(tmp_path), saved_state(whole))
    loop.train(tiny_run_config(cache), str(tmp_path))
    assert "complete" in capsys.readouterr().out


@pytest.mark.parametrize(("first", "then"), [(8, 1), (1, 8)])
def test_a_checkpoint_of_eight_devices_is_restored_on_one_and_the_reverse(first, then, small, tmp_path, monkeypatch):
    small.packing.packs_per_step, small.train.epochs = 8, 6
    small.optimizer.encoder_learning_rate = small.optimizer.learning_rate = 1e-4

    def on(devices, workdir, patch):
        patch.setattr(loop, "mesh_of", lambda packs: Mesh(np.asarray(jax.devices()[:devices]), (AXIS,)))
        loop.train(small, str(workdir))

    with monkeypatch.context() as patch:
        on(first, tmp_path / "whole", patch)
    with monkeypatch.context() as patch, pytest.raises(loop.Interrupted, match="step 3;"):
        _signal_at(patch, 3, signal.SIGTERM)
        on(first, tmp_path / "run", patch)
    with monkeypatch.context() as patch:
        on(then, tmp_path / "run", patch)
    (step, state), (last, expected) = saved_state(tmp_path / "run"), saved_state(tmp_path / "whole")
    assert step == last > 4
    for path, value in expected.items():
        np.testing.assert_allclose(state[path], value, rtol=0, atol=1e-6, err_msg=path)


def test_a_killed_run_resumes_bit_for_bit_and_its_log_has_no_gap_or_double(whole, cache, tmp_path):
    workdir = tmp_path / "run"
    config = tiny_run_config(cache)
    arguments = [f"--config.data.cache={cache}", "--workdir", str(workdir)]
    file = tmp_path / "config.py"
    # The killed process is slowed down, so that the kill lands between two checkpoints.
    file.write_text("from tests.runs import tiny_run_config\ndef get_config():\n    return tiny_run_config('')\n")
    slow = (
        "import runpy, sys, time\n"
        "from dtrm_jax.training import loop\n"
        "add = loop.Meter.add\n"
        "def slowly(self, step, *rest):\n"
        "    add(self, step, *rest)\n"
        "    time.sleep(0.3 if step < 5 else 60)\n"
        "loop.Meter.add = slowly\n"
        "sys.argv = ['train.py'] + sys.argv[1:]\n"
        "runpy.run_path('train.py', run_name='__main__')\n"
    )
    command = [sys.executable, "-c", slow, "--config", str(file), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache/jax_tests")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (workdir / "checkpoints" / "4").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert saved_state(workdir)[0] == 4
    loop.train(config, str(workdir))
    assert_same_state(saved_state(workdir), saved_state(whole))
    for split in ("train", "dev"):
        steps = [record["step"] for record in records(workdir, split)]
        assert steps == [record["step"] for record in records(whole, split)]
        losses = [record["loss"] for record in records(workdir, split)]
        assert losses == [record["loss"] for record in records(whole, split)]


def test_a_run_that_another_process_trains_is_refused(whole, cache):
    before = saved_state(whole)
    with RunDirectory(whole).locked(), pytest.raises(InputError, match="another process is training this run"):
        loop.train(tiny_run_config(cache), str(whole))
    assert_same_state(saved_state(whole), before)


def test_a_complete_run_is_left_alone(whole, cache, capsys):
    before = saved_state(whole)
    loop.train(tiny_run_config(cache), str(whole))
    assert "complete" in capsys.readouterr().out
    assert_same_state(saved_state(whole), before)


def test_best_is_the_best_on_dev_and_latest_is_the_last_step(whole):
    dev = records(whole, "dev")
    scores = [record["weighted_f1"] for record in dev]
    assert saved_state(whole, "best")[0] == dev[int(np.argmax(scores))]["step"]
    assert saved_state(whole, "latest")[0] == RunDirectory(whole).read_manifest().total_steps == dev[-1]["step"]


def test_the_log_says_what_was_trained(whole):
    train, dev = records(whole, "train"), records(whole, "dev")
    assert [record["epoch"] for record in dev] == [1, 2, 3]
    for record in train:
        assert record["utterances_per_second"] > 0 and record["tokens_per_second"] > record["utterances_per_second"]
    assert train[-1]["loss"] < train[0]["loss"]
    assert train[-1]["learning_rate"] < 3e-3
    assert list((whole / "tensorboard").glob("events.*"))


def test_another_config_is_refused_and_nothing_is_lost(whole, cache):
    config = tiny_run_config(cache)
    config.train.seed = 5
    before = saved_state(whole)
    with pytest.raises(InputError, match=r"config.json: the run begun here differs: train.seed was 0, is 5"):
        loop.train(config, str(whole))
    assert_same_state(saved_state(whole), before)


def test_the_same_run_may_log_and_save_at_other_intervals(whole, cache):
    config = tiny_run_config(cache)
    config.train.log_every_steps, config.train.save_every_steps = 1, 0
    loop.train(config, str(whole))


@pytest.mark.parametrize("ahead", [False, True])
def test_steps_run_ahead_of_reading_them_or_not_at_all(whole, cache, tmp_path, monkeypatch, ahead):
    events, parallelise, read = [], loop.parallelise, loop.Meter._read

    def counting(train_step, mesh):
        compiled, numbers = parallelise(train_step, mesh), itertools.count(1)
        return lambda *arguments: (events.append(("run", next(numbers))), compiled(*arguments))[1]

    monkeypatch.setattr(loop, "parallelise", counting)
    monkeypatch.setattr(loop.Meter, "_read", lambda self, *step: (events.append(("read", step[0])), read(self, *step)))
    monkeypatch.setattr(meter, "runs_ahead", lambda: ahead)
    config = tiny_run_config(cache)
    config.train.save_every_steps, config.train.evaluate_every_steps = 0, 1000
    loop.train(config, str(tmp_path))
    last = saved_state(whole)[0]
    steps = range(1, last + 1)
    if ahead:
        between = [event for step in steps[1:] for event in (("run", step), ("read", step - 1))]
        assert events == [("run", 1), *between, ("read", last)]
    else:
        assert events == [event for step in steps for event in (("run", step), ("read", step))]
    assert_same_state(saved_state(tmp_path), saved_state(whole))


def test_no_time_of_saving_is_counted_as_training(small, tmp_path, monkeypatch):
    clock, add, save = [0.0], Meter.add, Checkpoints.save

    def timed(meter, *given):
        clock[0] += 1
        return add(meter, *given)

    def slow(checkpoints, *given):
        clock[0] += 1000
        return save(checkpoints, *given)

    monkeypatch.setattr("dtrm_jax.training.meter.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(Meter, "add", timed)
    monkeypatch.setattr(Checkpoints, "save", slow)
    loop.train(small, str(tmp_path / "run"))
    rates = [one.get("utterances_per_second") for one in read_records(tmp_path / "run/metrics.jsonl")]
    assert len([rate for rate in rates if rate]) > 2 and min(filter(None, rates)) > 1


def test_a_step_compiles_once(small, tmp_path, monkeypatch):
    compiled, parallelise = [], loop.parallelise
    monkeypatch.setattr(loop, "parallelise", lambda *a: compiled.append(parallelise(*a)) or compiled[-1])
    small.train.epochs = 2
    loop.train(small, str(tmp_path))
    assert [step._cache_size() for step in compiled] == [1]


def test_memory_may_be_given_back_after_every_step(small, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(loop, "give_back_if_very_much", lambda: asked.append(True))
    loop.train(small, str(tmp_path))
    assert len(asked) == RunDirectory(tmp_path).read_manifest().total_steps > 2


def test_early_stopping_ends_the_run_and_it_stays_ended(small, tmp_path):
    small.optimizer.encoder_learning_rate = small.optimizer.learning_rate = 0.0
    small.train.patience, small.train.epochs = 2, 9
    progress = loop.train(small, str(tmp_path)).progress
    assert progress.stopped and [record["epoch"] for record in records(tmp_path, "dev")] == [1, 2, 3]
    assert saved_state(tmp_path, "best")[0] == records(tmp_path, "dev")[0]["step"], "of equals, the earliest is best"
    loop.train(small, str(tmp_path))
    assert len(records(tmp_path, "dev")) == 3


def test_the_last_checkpoint_is_taken_where_dev_cannot_choose(small, tmp_path, capsys):
    # Nothing is learned, so that by its score the first checkpoint would be the best.
    small.optimizer.encoder_learning_rate = small.optimizer.learning_rate = 0.0
    small.train.epochs, small.train.select_last = 2, True
    progress = loop.train(small, str(tmp_path)).progress
    first, last = (record["step"] for record in records(tmp_path, "dev"))
    run = RunDirectory(tmp_path)
    assert progress.best_step == last == read_trained(run).step > first and not progress.stopped
    assert [int(folder.name) for folder in run.all_checkpoints.iterdir() if folder.name.isdecimal()] == [last]
    assert "(best)" not in capsys.readouterr().out
    evaluate_run(run, split="dev")
    assert (
        f"step {last}, the last one, chosen by no score (weighted F1 on dev: " in write_report(run, "dev").read_text()
    )
    assert prune(run).step == last == read_trained(run).step


def test_evaluation_every_n_steps_and_at_the_end(small, tmp_path):
    small.train.epochs, small.train.evaluate_every_steps = 2, 3
    loop.train(small, str(tmp_path))
    total = RunDirectory(tmp_path).read_manifest().total_steps
    assert [record["step"] for record in records(tmp_path, "dev")] == sorted({*range(3, total + 1, 3), total})


def _dev_loss(config: Config, workdir: Path) -> float:
    """Returns the loss on dev after an epoch in which the parameters move far."""
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 0.1
    config.train.epochs = 1
    loop.train(config, str(workdir))
    return records(workdir, "dev")[-1]["loss"]


@pytest.fixture(scope="module")
def plain_loss(cache: Path, bag_of_words: str, tmp_path_factory: pytest.TempPathFactory) -> float:
    config = tiny_run_config(cache)
    config.model.architecture, config.optimizer.weight_decay = bag_of_words, 0.5
    return _dev_loss(config, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("train", "label_smoothing"), 0.3),
        (("train", "class_balance"), 1.0),
        (("train", "seed"), 1),
        (("optimizer", "weight_decay"), 0.0),
        (("optimizer", "gradient_clip"), 0.01),
        (("optimizer", "decay_biases_and_norms"), False),
        (("tokens", "indi_context"), False),
        (("packing", "packs_per_step"), 2),
    ],
)
def test_a_setting_reaches_the_training(plain_loss, small, tmp_path, path, value):
    small.optimizer.weight_decay = 0.5
    setattr(getattr(small, path[0]), path[1], value)
    assert _dev_loss(small, tmp_path) != plain_loss


def test_a_log_that_was_cut_off_is_read_up_to_there(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "lo')
    assert list(read_records(file)) == [{"step": 1}]
    file.write_text('{"step": 1, "lo\n' + json.dumps({"step": 2}) + "\n")
    with pytest.raises(InputError, match="line 1"):
        list(read_records(file))


def test_what_the_data_holds_is_said_before_training_and_kept(tmp_path, capsys):
    rows = "1;1;Ann;so;joy\n1;2;ann;what;\n2;1;Ann;well;anger\n2;2;Bob;\x1bno;anger\n"
    (tmp_path / "talk.csv").write_text("conversation;turn;Speaker;text;label\n" + rows)
    config = tiny_run_config(tmp_path / "cache")
    config.data.name, config.data.source, config.model.modalities = "table", str(tmp_path / "talk.csv"), "u"
    for _ in range(2):  # from the file, and from the cache
        experiment = loop.prepare(config)
        loop.Trainer(experiment, RunDirectory(tmp_path / "run")).describe()
        lines = capsys.readouterr().out.splitlines()
        lines = lines[lines.index("talk.csv: is read as the train split") :]
        assert lines[:4] == [
            "talk.csv: is read as the train split",
            "talk.csv: its fields are separated by semicolons",
            "talk.csv: reads the columns 'Speaker' as speaker",
            "dev: 1 of 2 conversations, drawn with config.data.validation_seed=0",
        ]
        assert lines[4].split() == ["turns", "by", "class", "train", "dev"]
        assert {line.split()[0]: line.split()[-2:] for line in lines[5:8]} == {
            "anger": ["2", "0"],
            "joy": ["0", "1"],
            "not": ["0", "1"],
        }
        assert "look at this: there is a single class: every labelled turn of train is 'anger'" in lines
        assert (
            "look at this: speakers differ in case or spaces alone: 'Ann' and 'ann' in conversation '1' of dev" in lines
        )
        assert experiment.manifest.notes == tuple(lines[:4])


def test_settings_for_classes_are_said_to_mean_nothing_for_real_values(tmp_path, capsys):
    rows = "".join(f"{talk};{turn};Ann;so;0.{turn}\n" for talk in range(4) for turn in range(3))
    (tmp_path / "talk.csv").write_text("conversation;turn;speaker;text;value_mood\n" + rows)
    config = tiny_run_config(tmp_path / "cache")
    config.data.name, config.data.source, config.model.modalities = "table", str(tmp_path / "talk.csv"), "u"
    config.train.class_balance = 0.5
    loop.Trainer(loop.prepare(config), RunDirectory(tmp_path / "run")).describe()
    told = "look at this: config.train.class_balance=0.5 is for classes, and means nothing for real values"
    lines = capsys.readouterr().out.splitlines()
    assert told in lines and not any("label_smoothing" in line for line in lines)
