"""How much of the fault suite runs, and where its counts go.

``make test`` runs a short part of every test here, ``make faults`` all of it: ``pytest tests/faults --faults=all
--fault-counts=FOLDER``. Each test that counts leaves one JSON file in the folder, from which the page on reliability is
written.
"""

import json
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", choices=("short", "all"), default="short", help="How much of tests/faults runs.")
    group.addoption("--fault-counts", default="", help="Folder for one JSON file of counts per test of tests/faults.")


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
