"""How much of the fault suite runs, and where its counts go.

``make test`` runs a short part of every test here, ``make faults`` all of it: ``pytest tests/faults --faults=all
--fault-counts=FOLDER``. Each test that counts leaves one JSON file in the folder, and the suite one with the number of
tests that passed and failed, from which the page on reliability is written (``docs/make_reliability.py``).
"""

import datetime
import json
import os
import time
from pathlib import Path

import pytest

from dtrm_jax.provenance import made_with, provenance

_BEGUN = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", choices=("short", "all"), default="short", help="How much of tests/faults runs.")
    group.addoption("--fault-counts", default="", help="Folder for one JSON file of counts per test of tests/faults.")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_BEGUN] = time.monotonic()
    folder = config.getoption("--fault-counts")
    if folder and not hasattr(config, "workerinput"):  # of the processes that run tests, not one of several
        for file in Path(folder).glob("*.json"):
            file.unlink()  # of earlier runs, whose tests may have other names


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    folder = config.getoption("--fault-counts")
    if not folder:
        return
    took = os.times()  # the workers and the commands that they ran have ended
    found = {name: len(terminalreporter.stats.get(name, ())) for name in ("passed", "failed", "error", "skipped")}
    suite = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "faults": config.getoption("--faults"),
        "passed": found["passed"],
        "failed": found["failed"] + found["error"],
        "skipped": found["skipped"],
        "seconds": round(time.monotonic() - config.stash[_BEGUN]),
        "cpu_seconds": round(took.user + took.system + took.children_user + took.children_system),
        "with": made_with("tested", provenance()).get("tested with", ""),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "suite.json").write_text(json.dumps(suite, indent=2) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def thorough(request) -> bool:
    """Whether everything is to run."""
    return request.config.getoption("--faults") == "all"


@pytest.fixture
def count(request):
    """Returns a function that keeps what a test has counted: ``count(title, tried=100, refused=97, read=3)``."""
    folder = request.config.getoption("--fault-counts")

    def keep(title: str, **counts: int | float | str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            file = Path(folder) / f"{request.node.path.stem}-{request.node.name}.json"
            file.write_text(json.dumps({"title": title} | counts, indent=2) + "\n", encoding="utf-8")

    return keep


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data cache of the commands of one file."""
    return tmp_path_factory.mktemp("cache")
