"""Checkpoints and the files of a run: best and latest, damage, a full disk."""

import dataclasses
import json
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config, different_settings
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.encoder_tokenizer import word_tokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.run_directory.checkpoints import Checkpoints
from tests.factories import small_manifest, tiny_encoder


def _state(step: int) -> dict:
    return {
        "params": {"w": jnp.arange(40_000, dtype=jnp.float32) * step, "b": jnp.full(3, step)},
        "step": jnp.int32(step),
    }


def _open(path: Path, read_only: bool = False) -> Checkpoints:
    return Checkpoints(path, "weighted_f1", read_only)


def _save(checkpoints: Checkpoints, scores: dict[int, float | None]) -> None:
    for step, score in scores.items():
        metrics = None if score is None else {"weighted_f1": score, "accuracy": 1 - score}
        checkpoints.save(step, _state(step), {"note": step}, metrics)
        checkpoints.wait()


def test_best_and_latest_are_kept_and_only_they(tmp_path):
    checkpoints = _open(tmp_path)
    _save(checkpoints, {2: 0.3, 4: None, 6: 0.7, 8: None, 10: 0.7, 12: None})
    assert checkpoints.resolve("best") == 6, "of equals, the earlier"
    assert checkpoints.resolve("latest") == 12
    assert checkpoints.resolve("6") == 6
    assert sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()) == [6, 12]
    with pytest.raises(InputError, match="expected the checkpoint '4'.*found steps 6, 12"):
        checkpoints.resolve("4")
    checkpoints.close()


def test_a_checkpoint_comes_back_whole_or_only_its_parameters(tmp_path):
    checkpoints = _open(tmp_path)
    _save(checkpoints, {3: 0.5})
    whole = checkpoints.restore(3, _state(0))
    assert whole.progress == {"note": 3}
    jax.tree.map(np.testing.assert_array_equal, whole.state, _state(3))
    part = checkpoints.restore(3, {"params": _state(0)["params"]})
    assert part.state.keys() == {"params"}
    jax.tree.map(np.testing.assert_array_equal, part.state["params"], _state(3)["params"])
    checkpoints.close()


def test_of_an_error_less_is_better(tmp_path):
    checkpoints = Checkpoints(tmp_path, "mae", False)
    for step, score in ((2, 0.7), (4, 0.3), (6, 0.5), (8, 0.3)):
        checkpoints.save(step, _state(step), {}, {"mae": score, "pearson_r": score})
        checkpoints.wait()
    assert checkpoints.resolve("best") == 4
    checkpoints.close()


@pytest.mark.parametrize("labels", [LabelSpace(("x", "y")), ValueSpace(("valence", "power"))])
@pytest.mark.parametrize("encoder", [None, tiny_encoder(Config())])
def test_the_manifest_of_a_run_comes_back(tmp_path, labels, encoder):
    shape = PackShape(((64, 3), (96, 2)), 48, values=2, features=(("acoustic", 5), ("visual", 3)))
    manifest = Manifest(corpus="avec", labels=labels, encoder=encoder, shape=shape, total_steps=17, notes=("a", "b"))
    run = RunDirectory(tmp_path)
    normalization = Normalization(
        {"acoustic": np.zeros(5, np.float32)}, {"acoustic": np.ones(5, np.float32)}, bound=2.5
    )
    run.begin(Config(), manifest, None, normalization)
    assert run.read_manifest() == manifest and run.read_normalization().sizes == (("acoustic", 5),)
    assert run.read_normalization().bound == 2.5
    assert not (tmp_path / "tokenizer.json").exists()


def test_a_run_begun_again_keeps_where_its_data_lies_now_and_refuses_other_data(tmp_path):
    run, config = RunDirectory(tmp_path), Config()
    manifest = small_manifest(None, data={"conversations": "1a"})
    run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))
    config.data.source = "/moved"
    run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))
    assert run.read_config().data.source == "/moved"
    run.begin(config, dataclasses.replace(manifest, notes=("/moved: said",)), None, Normalization({}, {}, bound=0.0))
    other = dataclasses.replace(manifest, data={"conversations": "2b"})
    with pytest.raises(InputError, match=r"run\.json: .* data\.conversations was '1a', is '2b'"):
        run.begin(config, other, None, Normalization({}, {}, bound=0.0))
    config.train.epochs += 1
    with pytest.raises(InputError, match=r"config\.json: .* train\.epochs was"):
        run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))
    assert run.read_config().train.epochs == config.train.epochs - 1


def test_a_run_whose_encoder_has_another_tokenizer_now_is_refused(tmp_path):
    run, manifest = RunDirectory(tmp_path), small_manifest(tiny_encoder(Config()))
    texts = (["happy sad fine happy happy sad"], ["fine sad happy fine fine sad"])
    first, same_size = map(word_tokenizer, texts)
    for _ in range(2):
        run.begin(Config(), manifest, first, Normalization({}, {}))
    with pytest.raises(InputError, match=r"tokenizer\.json: the run begun here has another tokenizer than its encoder"):
        run.begin(Config(), manifest, same_size, Normalization({}, {}))
    assert run.read_tokenizer().encode(["happy"]) == first.encode(["happy"]) != same_size.encode(["happy"])


@pytest.mark.parametrize("sums", [True, False])
def test_a_run_whose_config_is_gone_is_not_begun_with_another(tmp_path, sums):
    run, manifest = RunDirectory(tmp_path), small_manifest(None)
    run.begin(Config(), manifest, None, Normalization({}, {}))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").unlink()
    if not sums:  # as in older runs
        (tmp_path / "SHA256SUMS").unlink()
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    other = Config()
    other.optimizer.learning_rate /= 2
    with pytest.raises(
        InputError, match=r"config\.json: (expected this file, as SHA256SUMS names it|expected a run directory)"
    ):
        run.begin(other, manifest, None, Normalization({}, {}))
    assert {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_a_run_from_before_there_were_encoder_families_is_begun_again(tmp_path):
    run, manifest = (
        RunDirectory(tmp_path),
        small_manifest(tiny_encoder(Config())),
    )
    run.begin(Config(), manifest, None, Normalization({}, {}, bound=0.0))
    values = json.loads((tmp_path / "run.json").read_text())
    for key in ("family", "learned_segments", "first_position", "embedding_size", "relative_buckets"):
        del values["encoder"][key]
    (tmp_path / "run.json").write_text(json.dumps(values))
    (tmp_path / "SHA256SUMS").unlink()
    run.begin(Config(), manifest, None, Normalization({}, {}, bound=0.0))
    assert run.read_manifest() == manifest


@pytest.mark.parametrize("modalities", ["u", "ua"])
def test_a_run_from_before_features_had_a_bound_has_none(tmp_path, modalities):
    run, manifest, config = RunDirectory(tmp_path), small_manifest(None), Config()
    config.model.modalities = modalities
    run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))
    values = json.loads((tmp_path / "config.json").read_text())
    del values["data"]["feature_bound"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "SHA256SUMS").unlink()
    begun = run.read_config()
    assert begun.data.feature_bound == 0 != config.data.feature_bound
    run.begin(begun, manifest, None, Normalization({}, {}, bound=0.0))
    if modalities == "u":  # whose outcome it does not touch
        run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))
    else:
        with pytest.raises(InputError, match=r"data\.feature_bound was 0\.0, is 10\.0"):
            run.begin(config, manifest, None, Normalization({}, {}, bound=0.0))


def test_a_run_of_another_planner_is_not_trained_on(tmp_path):
    run, manifest = RunDirectory(tmp_path), small_manifest(None, planner=2)
    run.begin(Config(), manifest, None, Normalization({}, {}, bound=0.0))
    assert run.read_manifest().planner == 2
    run.begin(Config(), manifest, None, Normalization({}, {}, bound=0.0))
    values = json.loads((tmp_path / "run.json").read_text())
    del values["planner"]  # as in runs from before it was kept
    values["total_steps"] = 18
    before = json.dumps(values)
    (tmp_path / "run.json").write_text(before)
    (tmp_path / "SHA256SUMS").unlink()
    assert run.read_manifest().planner == 1
    message = "version 2 of the planner, found version 1, with which other packs would follow"
    with pytest.raises(InputError, match=rf"run\.json: expected a run whose packs were planned by {message}") as error:
        run.begin(Config(), manifest, None, Normalization({}, {}, bound=0.0))
    assert "\n" not in str(error.value) and (tmp_path / "run.json").read_text() == before


def test_a_setting_that_one_of_two_configs_lacks_is_a_difference():
    here = {"a": {"b": 1, "c": "new"}}
    assert different_settings({"a": {"b": 1}}, here) == "a.c was None, is 'new'"
    assert different_settings({"a": {"b": 1, "c": "new", "gone": 2}}, here) == "a.gone was 2, is None"


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    checkpoints = _open(tmp_path)
    _save(checkpoints, {3: 0.5})
    other = {"params": {"w": jnp.zeros(7), "b": jnp.zeros(3)}}
    with pytest.raises(InputError, match="cannot restore this checkpoint"):
        checkpoints.restore(3, other)
    more = {"params": _state(0)["params"] | {"new": jnp.zeros(3)}}
    with pytest.raises(InputError, match=r"checkpoint: expected \['params'\]\['new'\], found no such array"):
        checkpoints.restore(3, more)
    checkpoints.close()


def test_a_full_disk_is_one_line_and_earlier_checkpoints_are_intact(tmp_path):
    checkpoints = _open(tmp_path)
    _save(checkpoints, {1: 0.5})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(InputError, match="checkpoint .File too large.; the newest good one is step 1") as caught:
            _save(checkpoints, {2: 0.6})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    again = _open(tmp_path)
    assert again.latest() == 1
    jax.tree.map(np.testing.assert_array_equal, again.restore(1, _state(0)).state, _state(1))
    _save(again, {2: 0.6})
    assert again.resolve("best") == 2
    again.close()


def test_an_unfinished_checkpoint_is_not_taken_for_one(tmp_path):
    checkpoints = _open(tmp_path)
    _save(checkpoints, {1: 0.5})
    checkpoints.close()
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "2.orbax-checkpoint-tmp" / "junk").write_text("x")
    again = _open(tmp_path)
    assert again.latest() == 1
    again.close()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    run = RunDirectory(tmp_path)
    assert not run.exists()
    with pytest.raises(InputError, match="config.json: expected a run directory"):
        run.read_config()
    with pytest.raises(InputError, match="no checkpoints"):
        run.checkpoints("weighted_f1", read_only=True)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="config.json: not valid JSON"):
        run.read_config()
    (tmp_path / "config.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(InputError, match=r"config.json: config.data: setting is missing"):
        run.read_config()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="run.json: not the manifest"):
        run.read_manifest()
    manifest = small_manifest(tiny_encoder(Config()))
    (tmp_path / "run.json").write_text(json.dumps(manifest.to_dict()))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer.json: expected a tokenizer"):
        run.read_tokenizer()
