"""Pruning a run: the best parameters are left, whatever interrupts it."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import Config
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import RunDirectory, pruning
from dtrm_jax.run_directory.checkpoints import Checkpoints
from dtrm_jax.run_directory.pruning import prune
from dtrm_jax.training import loop
from tests.factories import small_manifest


def _state(step: int) -> dict:
    params = {
        "dense": {"kernel": jnp.arange(60_000, dtype=jnp.float32) * step},
        "bias": jnp.full(3, step, jnp.bfloat16),
    }
    moments = jax.tree.map(lambda x: x.astype(jnp.float32) + 0.5, params)
    return {"params": params, "moments": (moments, moments), "step": jnp.int32(step)}


@pytest.fixture
def run(tmp_path):
    """The best checkpoint, of step 4, is not the latest."""
    run, config = RunDirectory(tmp_path / "run"), Config()
    config.train.select_by = "weighted_f1"
    run.begin(config, small_manifest(None), None, Normalization({}, {}, bound=0.0))
    checkpoints = run.checkpoints("weighted_f1")
    for step, score in {2: 0.3, 4: 0.7, 6: 0.5}.items():
        checkpoints.save(step, _state(step), {"note": step}, {"weighted_f1": score, "accuracy": 0.1})
        checkpoints.wait()
    checkpoints.close()
    return run


def _best(run: RunDirectory):
    checkpoints = run.checkpoints("weighted_f1", read_only=True)
    try:
        step = checkpoints.resolve("best")
        return checkpoints.restore(step, {"params": _state(0)["params"]})
    finally:
        checkpoints.close()


def _assert_the_best_is_there(run: RunDirectory) -> None:
    found = _best(run)
    assert (found.step, found.progress) == (4, {"note": 4})
    jax.tree.map(np.testing.assert_array_equal, found.state, {"params": _state(4)["params"]})


def test_the_best_parameters_alone_are_left(run):
    files = {file.name for file in run.path.iterdir()}
    pruned = prune(run)
    _assert_the_best_is_there(run)
    assert pruned.step == 4 and pruned.after < 0.2 * pruned.before
    assert pruned.after == sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    assert {file.name for file in run.path.iterdir()} == files - {"checkpoints"} | {"pruned", "train.lock"}
    checkpoints = run.checkpoints("weighted_f1", read_only=True)
    assert checkpoints.resolve("4") == 4 and checkpoints.scores(4) == {"weighted_f1": 0.7, "accuracy": 0.1}
    with pytest.raises(InputError, match="this run was pruned: only the best checkpoint is left, no latest one"):
        checkpoints.resolve("latest")
    with pytest.raises(InputError, match=r"cannot restore this checkpoint: expected \['moments'\].*, found no such"):
        checkpoints.restore(4, _state(0))
    checkpoints.close()
    again = prune(run)
    assert again.step == 4 and again.before == again.after == pruned.after


def test_a_pruned_run_is_not_trained(run, monkeypatch):
    prune(run)
    message = r"pruned to its best parameters and cannot be resumed; --config\.train\.init_from="
    with pytest.raises(InputError, match=message):
        run.checkpoints("weighted_f1")
    monkeypatch.delattr(loop, "prepare")  # before any data is read
    with pytest.raises(InputError, match=message):
        loop.train(run.read_config(), str(run.path))
    _assert_the_best_is_there(run)


class _Killed(BaseException):
    pass


def _after(calls: int, function):
    """The function, which is killed in place of its last call."""
    left = [calls]

    def wrapped(*arguments, **keywords):
        if not left[0]:
            raise _Killed
        left[0] -= 1
        return function(*arguments, **keywords)

    return wrapped


# A kill in a thread of Orbax is raised again where it is waited for; older versions of pytest see it in the thread too.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("place", "name", "calls", "is_pruned"),
    [
        (Checkpoints, "save", 0, False),
        (pruning.os, "sync", 0, False),
        (pruning.os, "replace", 0, False),
        (pruning.shutil, "rmtree", 0, True),
        (os, "unlink", 3, True),
    ],
)
def test_whatever_interrupts_it_the_best_is_there_and_pruning_again_completes_it(
    run, monkeypatch, place, name, calls, is_pruned
):
    with monkeypatch.context() as patched, pytest.raises(_Killed):
        patched.setattr(place, name, _after(calls, getattr(place, name)))
        prune(run)
    assert run.is_pruned() == is_pruned
    _assert_the_best_is_there(run)
    if not is_pruned:
        checkpoints = run.checkpoints("weighted_f1")
        assert checkpoints.latest() == 6, "it can still be resumed"
        checkpoints.close()
    prune(run)
    _assert_the_best_is_there(run)
    assert not run.all_checkpoints.exists() and not list(run.path.glob(".*"))


def test_a_system_that_cannot_be_told_to_write_everything_to_disk_prunes_too(run, monkeypatch):
    monkeypatch.delattr(pruning.os, "sync")  # as on Windows
    prune(run)
    _assert_the_best_is_there(run)


def test_what_cannot_be_pruned_is_left_as_it_is(run, tmp_path):
    with pytest.raises(InputError, match=r"config\.json: expected a run directory"):
        prune(RunDirectory(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    with run.locked(), pytest.raises(InputError, match="another process is training this run"):
        prune(run)
    for checkpoint in run.all_checkpoints.glob("*"):  # as they are when none was scored
        shutil.rmtree(checkpoint / "metrics")
        (checkpoint / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match="expected the checkpoint 'best'"):
        prune(run)
    assert run.all_checkpoints.exists() and not run.is_pruned()
    assert json.loads((run.path / "config.json").read_text())["name"] == "experiment"
