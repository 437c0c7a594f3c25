"""``docs/architecture.md`` draws the house as it stands."""

import re

import pytest

from tests.runs import ROOT
from tests.test_layers import FLOORS, PACKAGE

FOLDERS = sorted(
    str(folder.relative_to(PACKAGE))
    for folder in PACKAGE.rglob("*")
    if folder.is_dir() and folder.name != "__pycache__"
)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_is_mentioned(page, folder):
    name = folder.split("/")[-1]
    assert f"`{name}`" in page or f"dtrm_jax/{folder}/" in page


def test_the_floors_are_those_of_the_test_of_layers(page):
    table = page.split("## The floors")[1].split("\n## ")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in re.findall(r"^\| `.*$", table, re.MULTILINE)]
    assert sorted(sum(rows, [])) == sorted(FLOORS), "a part is missing, or named twice"
    floors = [{FLOORS[part] for part in row} for row in rows]
    assert all(len(floor) == 1 for floor in floors), "parts of different floors in one row"
    assert floors == sorted(floors, key=max, reverse=True)
