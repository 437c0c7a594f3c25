"""Further epochs on a run that has come to its end."""

import json
import os
import signal

import numpy as np
import pytest

from dtrm_jax.config import OptimizerConfig
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import Extension, RunDirectory
from dtrm_jax.training import loop
from dtrm_jax.training.optimizer import schedule
from tests.runs import assert_same_state, copied, records, saved_state, tiny_run_config

pytestmark = pytest.mark.usefixtures("bag_of_words")


def _config(cache, epochs):
    config = tiny_run_config(cache)
    config.model.architecture, config.train.epochs, config.train.log_every_steps = "bag_of_words", epochs, 1
    return config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def ended(cache, tmp_path_factory):
    """A run of two epochs that has come to its end."""
    workdir = tmp_path_factory.mktemp("ended")
    loop.train(_config(cache, 2), str(workdir))
    return workdir


@pytest.fixture(scope="module")
def longer(ended, cache, tmp_path_factory):
    """The same, made four epochs long without an interruption."""
    workdir = copied(ended, tmp_path_factory.mktemp("longer") / "run")
    loop.train(_config(cache, 4), str(workdir))
    return workdir


def test_rates_go_up_to_those_of_the_longer_run_and_down_to_zero(ended, longer):
    last, total = saved_state(ended)[0], saved_state(longer)[0]
    assert total == 2 * last
    rates = {record["step"]: record["learning_rate"] for record in records(longer)}
    assert sorted(rates) == list(range(1, total + 1)), "every step once"
    for step, rate in rates.items():
        of = schedule(3e-3, OptimizerConfig(warmup_steps=2), last if step <= last else total)
        assert rate == pytest.approx(float(of(step - 1)), rel=1e-5)
    assert [record["epoch"] for record in records(longer, "dev")] == [1, 2, 3, 4]
    before, after = saved_state(ended)[1], saved_state(longer)[1]
    assert any("count" in path and int(after[path]) == total for path in after), "the optimizer goes on counting"
    assert np.abs(before["['params']['output']['kernel']"] - after["['params']['output']['kernel']"]).max() > 1e-3


def test_nothing_of_the_shorter_run_is_lost_and_both_lengths_are_kept(ended, longer):
    before = [json.loads(line) for line in (ended / "metrics.jsonl").read_text().splitlines()]
    after = [json.loads(line) for line in (longer / "metrics.jsonl").read_text().splitlines()]
    assert after[: len(before)] == before
    last, total = saved_state(ended)[0], saved_state(longer)[0]
    manifest = RunDirectory(longer).read_manifest()
    assert manifest.total_steps == total and RunDirectory(longer).read_config().train.epochs == 4
    assert manifest.extensions == (
        Extension(after_step=last, epochs_before=2, epochs=4, steps_before=last, steps=total),
    )
    dev = records(longer, "dev")
    best = max(dev, key=lambda record: record["weighted_f1"])
    assert saved_state(longer, "best")[0] == best["step"]


def test_the_best_checkpoint_stays_the_best_unless_it_is_beaten(ended, cache, tmp_path, monkeypatch):
    workdir = copied(ended, tmp_path / "run")
    best = saved_state(ended, "best")
    score = loop.Trainer._score
    monkeypatch.setattr(loop.Trainer, "_score", lambda self, *rest: score(self, *rest) | {"weighted_f1": 0.0})
    progress = loop.train(_config(cache, 4), str(workdir)).progress
    assert_same_state(saved_state(workdir, "best"), best)
    assert progress.best_step == best[0]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_an_interrupted_extension_resumes_bit_for_bit(ended, longer, cache, tmp_path, monkeypatch, steps):
    workdir = copied(ended, tmp_path / "run")
    with monkeypatch.context() as patch:
        if steps:
            compiled = loop.parallelise

            def sending(train_step, mesh):
                run, calls = compiled(train_step, mesh), []

                def counted(*arguments):
                    calls.append(1)
                    if len(calls) == steps:
                        os.kill(os.getpid(), signal.SIGTERM)
                    return run(*arguments)

                return counted

            patch.setattr(loop, "parallelise", sending)
            with pytest.raises(loop.Interrupted):
                loop.train(_config(cache, 4), str(workdir))
        else:  # between the two files that say how long the run is
            shorter = (workdir / "config.json").read_text()
            patch.setattr(loop.Trainer, "run", lambda self: None)
            loop.train(_config(cache, 4), str(workdir))
            (workdir / "config.json").write_text(shorter)
            (workdir / "SHA256SUMS").unlink()  # which are written last
    loop.train(_config(cache, 4), str(workdir))
    assert_same_state(saved_state(workdir), saved_state(longer))
    assert_same_state(saved_state(workdir, "best"), saved_state(longer, "best"))
    assert RunDirectory(workdir).read_manifest() == RunDirectory(longer).read_manifest()
    assert [record["loss"] for record in records(workdir)] == [record["loss"] for record in records(longer)]


def test_it_is_said_what_becomes_of_the_learning_rates(ended, cache, tmp_path, capsys):
    workdir = copied(ended, tmp_path / "run")
    loop.train(_config(cache, 4), str(workdir))
    step = saved_state(ended)[0]
    share = round(100 * (2 * step - step) / (2 * step - 2))
    said = capsys.readouterr().out
    assert (
        f"4 epochs instead of 2: the learning rates, at 0 % of their peak after step {step}, go on at {share} %, as in "
        f"a run of {2 * step} steps, and reach 0 at its end\n"
    ) in said
    assert f"the learning rates rise until step 2 and fall to 0 until step {2 * step}\n" in said


def test_a_run_that_early_stopping_ended_goes_on(cache, tmp_path):
    config = _config(cache, 9)
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 0.0
    config.train.patience = 2
    assert loop.train(config, str(tmp_path)).progress.stopped
    stopped = saved_state(tmp_path)[0]
    config.train.epochs = 12
    progress = loop.train(config, str(tmp_path)).progress
    assert progress.stopped and len(records(tmp_path, "dev")) == 5, "two more that are no better"
    assert RunDirectory(tmp_path).read_manifest().extensions[0].after_step == stopped


def test_other_changes_are_refused_and_nothing_is_changed(ended, cache):
    def refused(config, message, **options):
        before = {file: (ended / file).read_bytes() for file in ("config.json", "run.json", "metrics.jsonl")}
        with pytest.raises(InputError, match=message):
            loop.train(config, str(ended), **options)
        assert {file: (ended / file).read_bytes() for file in before} == before

    refused(_config(cache, 1), "train.epochs was 2, is 1")
    refused(_config(cache, 4), "train.epochs was 2, is 4", extend=False)
    longer = _config(cache, 4)
    longer.optimizer.learning_rate = 1e-3
    refused(longer, "config.json: the run begun here differs: optimizer.learning_rate was 0.003, is 0.001; ")


def test_a_run_that_has_not_come_to_its_end_is_finished_first(cache, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "run", lambda self: None)
        loop.train(_config(cache, 2), str(tmp_path))
    with pytest.raises(InputError, match=r"found step 0 of \d+; finish it with --config.train.epochs=2, and then give"):
        loop.train(_config(cache, 4), str(tmp_path))
