"""What other systems lack: packages without a wheel there, and parts of Python's library."""

import io
import json
import re
import subprocess
import sys
import textwrap

import pytest
from packaging.requirements import Requirement

from dtrm_jax import command_line
from dtrm_jax.data import corpus
from tests.runs import ROOT, environment, tiny_run_config

# Trains and evaluates; the package array_record cannot be imported, as on Windows.
WITHOUT_ARRAY_RECORD = """
    import json, pathlib, platform, sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "array_record":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
    system, platform.system = platform.system, lambda: "Windows"  # which is what Grain asks
    import grain
    platform.system = system
    from dtrm_jax import api
    from dtrm_jax.data import corpus
    from tests.runs import tiny_run_config

    cache, workdir = map(pathlib.Path, sys.argv[1:])
    config = tiny_run_config(cache)
    config.train.epochs = 1
    api.train(config, workdir)
    read = corpus.load(config.data)
    first = read.splits["test"][0]
    metrics = api.evaluate(workdir)
    said = [metrics["n"], sum(map(len, read.splits["test"])), first.id, [turn.text for turn in first.turns]]
    print(json.dumps([said, sorted(name for name in sys.modules if name.startswith("array_record"))]))
"""


def test_without_array_record_a_corpus_is_prepared_trained_on_and_evaluated(tmp_path):
    code, cache = textwrap.dedent(WITHOUT_ARRAY_RECORD), tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", code, str(cache), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**environment(cache), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    (scored, turns, name, texts), loaded = json.loads(done.stdout.splitlines()[-1])
    assert scored == turns > 0 and loaded == []
    assert len(list(cache.rglob("*.parquet-*"))) == 3 and not list(cache.rglob("*.array_record-*"))
    # With the package, the same data is prepared beside it.
    first = corpus.load(tiny_run_config(cache).data).splits["test"][0]
    assert (first.id, [turn.text for turn in first.turns]) == (name, texts)
    assert len(list(cache.rglob("*.array_record-*"))) == 3


def requirements(name):
    lines = [re.sub(r"\s*#.*", "", line) for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return {one.name.replace("_", "-").lower(): one for one in map(Requirement, filter(None, lines))}


@pytest.mark.parametrize(("system", "needed"), [("linux", True), ("darwin", True), ("win32", False)])
def test_array_record_is_needed_where_it_exists(system, needed):
    marker = requirements("requirements.txt")["array-record"].marker
    assert marker.evaluate({"sys_platform": system}) == needed


def test_on_windows_what_is_printed_into_a_pipe_is_utf_8(monkeypatch):
    for system, printed in (("win32", "Δ ✓ é".encode()), ("linux", None)):
        pipe = io.BytesIO()
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="cp1252"))
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
        command_line._print_utf8()
        if printed is None:
            with pytest.raises(UnicodeEncodeError):
                print("Δ")
        else:
            print("Δ ✓ é", end="", flush=True)
            assert pipe.getvalue() == printed


def test_no_part_of_python_that_windows_lacks_is_relied_on():
    absent = re.compile(r"^\s*(?:import|from) (?:fcntl|resource|pwd|grp|termios|tty)\b", re.MULTILINE)
    missing = re.compile(r"\bos\.(?:fork|getuid|geteuid|uname|mkfifo|chown|sched_\w+|setsid|nice|statvfs)\(")
    files = [*(ROOT / "dtrm_jax").rglob("*.py"), *ROOT.glob("*.py")]
    assert len(files) > 100
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not absent.search(text) and not missing.search(text), file
