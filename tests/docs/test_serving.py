"""What ``docs/serving.md`` and ``Containerfile`` say, tried out."""

import re
import shutil
import subprocess

import pytest

from dtrm_jax.commands import serve
from dtrm_jax.inference.predictor import load
from tests.runs import ROOT, tiny_run_config
from tests.serving.conftest import serving
from tests.trained import random_run

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    run = random_run(tiny_run_config(folder / "cache"), folder / "run")
    with serving(load(run)) as running:
        yield running


def _here(code: str, service) -> str:
    assert "127.0.0.1:8000" in code
    return code.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_example_of_curl_is_answered(service):
    (command,) = re.findall(r"^curl .*?[^\\]$", PAGE, re.DOTALL | re.MULTILINE)
    done = subprocess.run(["sh", "-c", _here(command, service)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '"speaker":"Bob","text":"Oh, great.","label":' in done.stdout, done


def test_the_example_of_a_session_runs(service, capsys):
    ((code),) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    exec(_here(code, service), {})
    labels = [turn.label for turn in service.predictor.predict([("Ann", "I passed!"), ("Bob", "Oh, great.")])]
    printed = capsys.readouterr().out.split()
    assert printed[::2] == ["1", "2", "3"] and printed[1:4:2] == labels


def test_the_requests_of_the_table_are_those_that_there_are(service):
    named = {tuple(one.split()) for one in re.findall(r"^\| `([A-Z]+ /\S+)`", PAGE, re.MULTILINE)}
    session = service.begin().removesuffix("/turns").rsplit("/", 1)[1]
    found = set()
    for method, path in named:
        status = service.ask(method, path.replace("NAME", session), {} if method == "POST" else None).status
        assert status in (200, 201, 204, 400, 404), (method, path)
        found.add((method, path))
    assert found == named and len(named) == 7


def test_the_defaults_of_the_page_are_those_of_the_flags():
    flags = {"--idle": serve._IDLE, "--max_bytes": serve._BYTES, "--max_turns": serve._TURNS}
    flags |= {"--max_characters": serve._CHARACTERS, "--max_sessions": serve._SESSIONS}
    flags |= {"--max_waiting": serve._WAITING}
    said = dict(re.findall(r"`(--\w+)`(?: seconds)? \(([\d,]+)\)", PAGE))
    assert {name: int(number.replace(",", "")) for name, number in said.items()} == {
        name: flag.default for name, flag in flags.items()
    }


def test_the_container_is_given_all_that_the_package_is_built_from():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    assert all((ROOT / name).exists() for name in copied)
    named = re.findall(r'"([\w-]+\.(?:txt|md))"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"requirements.txt", "requirements-serve.txt", "README.md"} <= set(named) <= set(copied)
    admitted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(admitted) == sorted(copied)
    ((command),) = re.findall(r"^ENTRYPOINT \[(.*)\]$", text, re.MULTILINE)
    assert command.split(", ")[0] == '"dtrm-serve"' and '"0.0.0.0"' in command
