"""Two trainings of one config are the same bit for bit, and a run tells what each of its starts ran on."""

import subprocess
import sys
from pathlib import Path

import pytest

from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.run_directory.starts import read_starts
from dtrm_jax.training import loop
from tests.runs import ROOT, assert_same_state, environment, saved_state, tiny_run_config

# What a log says of time and of the host's memory, which no seed decides.
_OF_THE_CLOCK = ("second", "memory", "time")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("first")
    loop.train(tiny_run_config(cache), str(workdir))
    return workdir


def _logged(workdir: Path) -> list[dict]:
    return [
        {name: value for name, value in record.items() if not any(word in name for word in _OF_THE_CLOCK)}
        for record in read_records(workdir / "metrics.jsonl")
    ]


def test_another_process_trains_the_same_bit_for_bit(first, cache, tmp_path):
    """With other hashes, other caches of the data, and one device instead of eight, of which one is used."""
    code = "import sys; from pathlib import Path; from dtrm_jax.training import loop; from tests.runs import *; "
    code += "loop.train(tiny_run_config(Path(sys.argv[1])), sys.argv[2])"
    second = tmp_path / "second"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "cache"), str(second)],
        env=environment(tmp_path) | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        check=True,
        capture_output=True,
    )
    for which in ("latest", "best"):
        found, expected = saved_state(second, which), saved_state(first, which)
        assert {path.split("'")[1] for path in expected[1]} >= {"params", "opt_state"}
        assert_same_state(found, expected)
    records = _logged(first)
    assert _logged(second) == records and {"loss", "step", "split"} <= records[0].keys()
    assert {record["split"] for record in records} == {"train", "dev"}
    for name in ("run.json", "tokenizer.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes(), name


def test_a_start_is_kept_with_what_it_ran_on(first):
    (found,) = read_starts(RunDirectory(first).starts_file)
    assert [start["step"] for start in found["starts"]] == [0]
    assert found["versions"].keys() >= {"python", "dtrm_jax", "jax", "jaxlib", "flax", "optax", "numpy"}
    assert found["machine"]["devices"] == "8 x cpu (cpu)" and found["command"]
    assert str(first.parent) not in RunDirectory(first).starts_file.read_text(encoding="utf-8")


def test_a_run_may_go_on_elsewhere_and_says_so(cache, tmp_path, monkeypatch, capsys, bag_of_words):
    workdir, config = tmp_path / "run", tiny_run_config(cache)
    config.model.architecture, config.train.epochs = bag_of_words, 1
    loop.train(config, str(workdir))
    last, file = saved_state(workdir)[0], RunDirectory(workdir).starts_file
    before = file.read_bytes()
    loop.train(config, str(workdir))
    assert "this run is complete" in capsys.readouterr().out and file.read_bytes() == before, "nothing was computed"
    monkeypatch.setattr(loop, "provenance", lambda: {"versions": {"jax": "99"}})
    config.train.epochs += 1
    loop.train(config, str(workdir))
    found = read_starts(file)
    assert [[start["step"] for start in one["starts"]] for one in found] == [[0], [last]]
    assert found[1]["versions"] == {"jax": "99"}
    file.write_text("{")
    last = saved_state(workdir)[0]
    config.train.epochs += 1
    loop.train(config, str(workdir))
    assert "it is now provenance.json.damaged, and training goes on" in capsys.readouterr().out
    assert [start["step"] for one in read_starts(file) for start in one["starts"]] == [last]
