"""``dtrm-serve``, as a user runs it."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.runs import ROOT, environment, tiny_run_config
from tests.trained import random_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    random_run(tiny_run_config(folder / "cache"), folder / "run")
    return folder


def started(folder, *arguments: str, code: str = "from dtrm_jax.commands.serve import run; run()") -> subprocess.Popen:
    settings = environment(folder / "cache") | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("host", "who"), [("127.0.0.1", "which only this machine can reach"), ("0.0.0.0", "there is no password")]
)
def test_it_says_where_it_listens_and_ends_with_ctrl_c(folder, host, who):
    process = started(folder, "run", "--port=0", f"--host={host}")
    try:
        line = process.stdout.readline()
        (url,) = re.findall(r"serving run \(step 7\) at (http://127\.0\.0\.1:\d+), ", line)
        assert who in line
        with urllib.request.urlopen(f"{url}/health", timeout=60) as answer:
            assert json.load(answer) == {"status": "ok", "sessions": 0, "waiting": 0}
        port = int(url.rpartition(":")[2])
        taken = started(folder, "run", f"--port={port}", f"--host={host}")
        _, error = taken.communicate(timeout=60)
        assert taken.returncode == 2 and error.count("\n") == 1
        assert error.startswith(f"error: --host={host} --port={port}: cannot listen there: ")
    finally:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.splitlines()[1:] == ["interrupted"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected RUN, found nothing"),
        (("run", "other"), "expected RUN, found run other"),
        (("none", "--port=0"), "none/config.json: expected a run directory"),
        (
            ("run", "--port=0", "--host=no.such.host.invalid"),
            "--host=no.such.host.invalid --port=0: cannot listen there",
        ),
    ],
)
def test_bad_input_is_one_line(folder, arguments, message):
    process = started(folder, *arguments)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2 and error.count("\n") == 1
    assert error.startswith("error: ") and message in error


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(folder):
    hidden = (
        "import importlib.util as util; find = util.find_spec; "
        "util.find_spec = lambda name, *rest: None if name == 'uvicorn' else find(name, *rest); "
        "from dtrm_jax.commands.serve import run; run()"
    )
    process = started(folder, "run", code=hidden)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error == "error: dtrm-serve needs uvicorn: python -m pip install starlette uvicorn\n"


def test_a_port_that_others_use_is_not_shared():
    from dtrm_jax.errors import InputError
    from dtrm_jax.serving.listening import listen, reachable

    with listen("127.0.0.1", 0) as bound:
        with pytest.raises(InputError, match="cannot listen there"):
            listen("127.0.0.1", bound.getsockname()[1])
        assert reachable(bound)[1].startswith("which only this machine")
    if socket.has_ipv6:
        with listen("::1", 0) as bound:
            assert reachable(bound)[0].startswith("http://[::1]:")
