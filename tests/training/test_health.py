"""Steps that are not finite, and parameters that explode: what is kept, what is said, and what is left out."""

import math
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.training import health, loop
from dtrm_jax.training.step import TrainState
from tests.runs import assert_same_state, saved_state, tiny_run_config

pytestmark = pytest.mark.usefixtures("bag_of_words")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def config_of(cache: Path, skip: int = 0) -> Config:
    config = tiny_run_config(cache)
    config.model.architecture = "bag_of_words"
    config.train.save_every_steps, config.train.log_every_steps, config.train.loggers = 1, 3, ""
    config.train.epochs, config.train.skip_nonfinite_steps = 2, skip
    return config


def poison(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Makes the loss of some steps not finite, whichever process or resumption comes to them."""
    parallelise = loop.parallelise

    def poisoned(train_step, mesh):
        compiled = parallelise(train_step, mesh)

        def run(state, batch, rng):
            if int(state.step) + 1 in steps:
                batch = batch.replace(weight_U=batch.weight_U * np.float32(math.nan))
            return compiled(state, batch, rng)

        return run

    monkeypatch.setattr(loop, "parallelise", poisoned)


def test_a_dead_state_never_replaces_the_healthy_one(cache, tmp_path, monkeypatch):
    poison(monkeypatch, {4, 6})
    with pytest.raises(InputError) as caught:
        loop.train(config_of(cache), str(tmp_path))
    line = str(caught.value)
    assert line.startswith("step 4: the loss is not finite, after training on the conversations 'train-")
    assert "the newest good checkpoint is step 3" in line and "skip_nonfinite_steps=10" in line
    step, state = saved_state(tmp_path)
    assert step == 3 and all(np.isfinite(value).all() for value in state.values())
    # The same command goes on without the step, as often as it is told to.
    with pytest.raises(InputError, match=r"step 6: .* 1 steps were left out before it.*checkpoint is step 5"):
        loop.train(config_of(cache, skip=1), str(tmp_path))
    loop.train(config_of(cache, skip=2), str(tmp_path))
    assert saved_state(tmp_path)[0] == 8


def test_a_bound_that_is_lowered_holds_for_the_steps_that_were_left_out_before(cache, tmp_path, monkeypatch):
    poison(monkeypatch, {2, 3, 6})
    with pytest.raises(InputError, match="step 6: .* 2 steps were left out before it; .*skip_nonfinite_steps admits 2"):
        loop.train(config_of(cache, skip=2), str(tmp_path))
    for lower in (1, 0):
        with pytest.raises(InputError, match="^step 6: the loss"):
            loop.train(config_of(cache, skip=lower), str(tmp_path))


def test_parameters_that_explode_are_not_saved(cache, tmp_path):
    config = config_of(cache)
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 1e38
    with pytest.raises(
        InputError, match=r"step 2: the parameters have exploded.*newest good checkpoint is step 1; low"
    ):
        loop.train(config, str(tmp_path))
    step, state = saved_state(tmp_path)
    assert step == 1 and all(np.isfinite(value).all() for value in state.values())


def test_where_steps_are_not_saved_the_stretch_is_named(cache, tmp_path):
    config = config_of(cache)
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 1e7
    config.train.save_every_steps = 2
    with pytest.raises(InputError, match=r"steps 1 to 2: .*save_every_steps=1 finds the first bad step; no check"):
        loop.train(config, str(tmp_path))


def test_what_is_wrong_with_a_state():
    good = TrainState(jnp.ones((), jnp.int32), {"a": jnp.ones(3)}, {"m": jnp.ones(2), "n": jnp.ones(2, jnp.int32)})
    assert health.ailment(good) == ""
    assert health.ailment(good.replace(params={"a": jnp.full(3, 1e5)})).startswith("the parameters have exploded")
    for bad in (math.nan, math.inf):
        assert health.ailment(good.replace(params={"a": jnp.array([1, bad])})) == health.NOT_FINITE
        assert health.ailment(good.replace(opt_state={"m": jnp.array([bad])})) == health.NOT_FINITE


def test_leaving_out_nothing_changes_no_bit(cache, tmp_path):
    loop.train(config_of(cache), str(tmp_path / "off"))
    loop.train(config_of(cache, skip=3), str(tmp_path / "on"))
    assert_same_state(saved_state(tmp_path / "on"), saved_state(tmp_path / "off"))


def test_a_step_that_is_left_out_changes_nothing_and_is_counted(cache, tmp_path, monkeypatch, capsys):
    poison(monkeypatch, {3, 7})
    loop.train(config_of(cache, skip=2), str(tmp_path / "run"))
    assert "2 of 8 steps were left out" in capsys.readouterr().out
    records = [one for one in read_records(tmp_path / "run" / "metrics.jsonl") if one["split"] == "train"]
    assert [(one["step"], one.get("skipped", 0), "loss" in one) for one in records] == [
        (step, int(step in (3, 7)), step not in (3, 7)) for step in range(1, 9)
    ]
    rates = {one["step"]: one["learning_rate"] for one in records}
    assert rates[3] == rates[2] < rates[4] or rates[3] == rates[2] > rates[4]  # the schedule stands still
    # Interrupted before and after a step that is left out, the run is the same.
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_evaluates_after", lambda self, step: step == 5)
        patch.setattr(loop, "_every", lambda every, step: step == 2)
        config = config_of(cache, skip=2)
        save = loop.Checkpoints.save

        def stop(self, step, *rest):
            save(self, step, *rest)
            if step in (2, 5):
                self.wait()
                raise KeyboardInterrupt

        patch.setattr(loop.Checkpoints, "save", stop)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                loop.train(config, str(tmp_path / "again"))
    loop.train(config_of(cache, skip=2), str(tmp_path / "again"))
    found, expected = saved_state(tmp_path / "again"), saved_state(tmp_path / "run")
    assert_same_state(found, expected)
    count = next(value for path, value in expected[1].items() if path.endswith("count']") or re.search("count", path))
    assert count == 6
