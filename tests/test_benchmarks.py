"""The benchmarks as a user runs them; with the PyTorch peers in ``tests/parity``."""

import json
import subprocess
import sys

import pytest

from tests.runs import ONE_LAYER, ROOT, environment


def run(cache, config, *arguments, script="train_throughput.py"):
    """Runs a benchmark on a handful of generated conversations, with one layer of each kind."""
    small = ("--config.data.planted.train=8", "--config.data.planted.dev=2", "--config.packing.tokens=256")
    command = [sys.executable, f"benchmarks/{script}", "--config", config, *small, *ONE_LAYER, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(cache), capture_output=True, text=True, timeout=300)


def check(record, names):
    """Checks a report's numbers against one another."""
    assert list(record["results"]) == names
    assert 0 < record["utterances"] < record["tokens"]
    for row in record["results"].values():
        assert len(row["seconds"]) == record["rounds"]
        # One round: the median is the round.
        assert row["utterances_per_second"] * row["seconds"][0] == pytest.approx(record["utterances"])
        assert row["tokens_per_second"] * row["seconds"][0] == pytest.approx(record["tokens"])
        ratio = row["seconds"][0] / record["results"]["dtrm_jax"]["seconds"][0]
        assert row["ours_is_faster_by"] == pytest.approx(ratio)
        assert row["ours_is_faster_by_range"] == pytest.approx([ratio, ratio])


def test_throughput_of_ours_alone_needs_no_pytorch(tmp_path):
    file = tmp_path / "result.json"
    result = run(tmp_path / "cache", "configs/demo.py", "--peers=", "--steps=2", "--rounds=1", "--json", str(file))
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    assert record["steps"] == 2
    assert "torch" not in record["versions"]
    check(record, ["dtrm_jax"])
    assert f"{record['results']['dtrm_jax']['utterances_per_second']:.1f}" in result.stdout


def test_an_unknown_peer_is_one_line(tmp_path):
    result = run(tmp_path / "cache", "configs/demo.py", "--peers=quick")
    assert result.returncode == 2
    assert (
        result.stderr.splitlines()[-1]
        == "error: --peers: expected some of padded, sorted, padded-bfloat16, sorted-bfloat16, flax, found quick"
    )


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
def test_the_profile_knows_what_every_operation_is_for(tmp_path, products):
    file = tmp_path / "profile.json"
    arguments = ("--steps=1", f"--config.model.encoder.products={products}", "--json", str(file))
    result = run(tmp_path / "cache", "configs/demo.py", *arguments, script="profile_step.py")
    assert result.returncode == 0, result.stderr
    figures = json.loads(file.read_text())
    assert sum(figures["shares"].values()) == pytest.approx(1)
    assert {"products with weights", "layer norms", "optimizer"} <= figures["shares"].keys()
    # The encoder's layer and the intra-modal one: two products each, four in the backward pass; XLA may merge some.
    assert figures["operations"]["attention: products"] >= 10
    # Of the operations, not of their time, which is the machine's.
    assert figures["operations"]["other: copies, conversions"] < 0.4 * sum(figures["operations"].values())
    assert 0 < figures["model_flops_per_second"] < figures["fastest_products"]["float32"]
    assert 0 <= figures["waiting_for_batches"] < 1


def test_a_turn_costs_the_same_in_short_and_long_conversations(tmp_path):
    file = tmp_path / "cost.json"
    command = [sys.executable, "benchmarks/linear_cost.py", "--turns=40,80,160", "--rounds=1", "--layers=1"]
    command += ["--json", str(file)]
    subprocess.run(command, cwd=ROOT, env=environment(tmp_path / "cache"), check=True, timeout=300)
    rows = json.loads(file.read_text())["results"]
    assert all(row["seconds_a_turn"] > 0 for row in rows.values())
    # Were every pair of turns scored, the last 80 turns would take more than twice the memory of those before.
    assert rows["160"]["bytes_a_further_turn"] < 1.5 * rows["80"]["bytes_a_further_turn"]


def test_a_live_conversation_is_timed_turn_by_turn_and_is_as_the_whole(tmp_path):
    file = tmp_path / "stream.json"
    arguments = (
        "--config.data.planted.test=4",
        "--turns=30",
        "--blocks=2",
        "--rounds=2",
        "--peers=",
        "--json",
        str(file),
    )
    result = run(tmp_path / "cache", "configs/demo.py", *arguments, script="streaming.py")
    assert result.returncode == 0, result.stderr
    record = json.loads(file.read_text())
    assert list(record["results"]) == ["dtrm_jax"] and record["turns"] == 30
    row = record["results"]["dtrm_jax"]
    assert len(row["median_ms_by_block"]) == 4
    every, fastest = row["all_rounds"], row["fastest_round_of_each_turn"]
    assert 0 < fastest["median_ms"] <= every["median_ms"] <= every["p99_ms"] <= row["ms_at_percent"]["100"]
    assert record["largest_difference"] < 1e-5
    assert f"{every['median_ms']:.2f}" in result.stdout and f"{fastest['p99_ms']:.2f}" in result.stdout


def test_a_start_that_fails_says_why():
    command = [sys.executable, "benchmarks/start_up.py", "--config", "configs/demo.py", "--config.train.epochs=0"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "config.train.epochs: expected a number from 1 to 1000000, found 0" in result.stderr


def test_encoding_in_chunks_takes_less_memory(tmp_path):
    needed = {}
    for chunks in (1, 4):
        file = tmp_path / f"{chunks}.json"
        arguments = ("--config.packing.tokens=2048", f"--config.model.encoder.chunks={chunks}", "--json", str(file))
        result = run(tmp_path / "cache", "configs/demo.py", *arguments, script="memory.py")
        assert result.returncode == 0, result.stderr
        record = json.loads(file.read_text())
        needed[chunks] = record["bytes"]
        assert record["bytes"]["all"] == sum(size for name, size in record["bytes"].items() if name != "all")
    # The pack may grow by a few rows.
    assert needed[1]["arguments"] == pytest.approx(needed[4]["arguments"], rel=0.01) and needed[1]["arguments"] > 0
    assert 0 < needed[4]["temporaries"] < 0.7 * needed[1]["temporaries"]


def test_packs_are_planned_and_compared_with_first_fit_over_all(tmp_path):
    file = tmp_path / "plan.json"
    arguments = ("--conversations=0,600", "--first_fit_up_to=100", "--seeds=1", "--json", str(file))
    result = run(tmp_path / "cache", "configs/demo.py", *arguments, script="plan_packs.py")
    assert result.returncode == 0, result.stderr
    few, many = json.loads(file.read_text())["results"]
    assert (few["conversations"], many["conversations"]) == (8, 600)
    assert many["turns"] == 75 * few["turns"]
    assert few["fill_beside_first_fit"] == 1 and "fill_beside_first_fit" not in many
    assert few["fill"]["epochs"] == few["fill"]["epochs_by_first_fit_over_all"]
    for row in (few, many):
        (packs,), share = row["fill"]["evaluation"]["packs"], row["fill"]["evaluation"]["tokens"]
        first, second = row["fill"]["epochs"]["packs"]  # of the same tokens
        assert row["fill"]["epochs"]["tokens"] == pytest.approx(share * packs * (1 / first + 1 / second) / 2)
        assert {"tokenised", "shape", "evaluation", "epoch", "until_first_batch"} <= row["seconds"].keys()
    assert f"{many['fill']['epochs']['tokens']:.3f}" in result.stdout


def test_the_service_is_put_under_load(tmp_path):
    file = tmp_path / "serving.json"
    arguments = ("--conversations=4", "--clients=3", "--rounds=1", "--requests=30", "--nopeer", "--json", str(file))
    result = run(tmp_path / "cache", "configs/demo.py", *arguments, script="serving.py")
    assert result.returncode == 0, result.stderr
    found = json.loads(file.read_text())
    whole, live = found["results"].values()
    turns, (one,), (other,) = found["turns"], whole["rounds"], live["rounds"]
    assert one["requests_per_second"] * one["seconds"] == pytest.approx(4)
    assert other["requests_per_second"] * other["seconds"] == pytest.approx(turns) and turns > 8
    assert one["turns_per_second"] * one["seconds"] == pytest.approx(turns)
    assert 0 < one["p50_ms"] <= one["p99_ms"] and found["memory"]["requests"] == 30
    assert f"after 30 requests {found['memory']['after_mb']:.1f} MB" in result.stdout
