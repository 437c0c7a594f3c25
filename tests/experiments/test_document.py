"""Results in documents are those of their files, the project's own included."""

import json
import re
from pathlib import Path

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.experiments import document, pages, rendering
from dtrm_jax.experiments.forest import forest
from dtrm_jax.experiments.outcome import Outcome
from dtrm_jax.experiments.tables import NAMES

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "results").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "results" / "README.md", *PAGES]
OUTCOMES = sorted((ROOT / "results").glob("*/table[2-6].json"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_results_that_are_told_are_those_that_were_measured(path):
    assert document.updated(path) == path.read_text(encoding="utf-8"), "run: make tables"


def test_the_readme_has_a_table():
    assert "<!-- main of results -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_table_is_told_somewhere():
    """A table with a record but without a reader would be forgotten."""
    names = [page.stem for page in PAGES]
    told = {folder for name in names for folder in pages.folders_of(name, names, ROOT / "results")}
    tables = {file for name in NAMES for file in (ROOT / "results").glob(f"*/{name}.json")}
    assert len(tables) >= 8 and {file.parent for file in tables} == told
    assert all("<!-- all of ../../results -->" in page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_is_linked_and_shows_its_plots(page):
    assert f"](results/{page.name})" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for plot in re.findall(r"!\[.*\]\((.*)\)", page.read_text(encoding="utf-8")):
        file = page.parent / plot
        assert file.read_text(encoding="utf-8") == forest(pages.read(file.with_suffix(".json"))), "run: make tables"


@pytest.fixture
def page(tmp_path):
    outcome = json.loads(OUTCOMES[0].read_text(encoding="utf-8"))
    (tmp_path / "o").mkdir()
    (tmp_path / "o/t.json").write_text(json.dumps(outcome))
    file = tmp_path / "page.md"
    file.write_text(
        "before\n<!-- o/t.json -->\nold\n<!-- end -->\nbetween\n<!-- o/t.json classes u -->\n<!-- end -->\n"
    )
    return file, outcome


def test_a_page_is_written_from_its_files(page):
    file, outcome = page
    assert document.main([str(file)]) == 0
    text = file.read_text()
    assert rendering.markdown(Outcome.from_json(outcome)) in text and "F1 by class: " in text
    assert text.startswith("before\n<!-- o/t.json -->\n") and "\nbetween\n" in text and "old" not in text
    assert document.updated(file) == text
    row = next(row for row in outcome["rows"] if row["variant"] == "u")
    row["scores"]["test.weighted_f1"][0] += 0.01
    (file.parent / "o/t.json").write_text(json.dumps(outcome))
    assert document.updated(file) != text


def test_what_is_wrong_is_one_line(page, capsys):
    file, outcome = page
    (file.parent / "o/t.json").write_text("{}")
    with pytest.raises(InputError, match=r"o/t\.json: expected the outcome of a table"):
        document.updated(file)
    before = file.read_text()
    (file.parent / "o/t.json").unlink()
    assert document.main([str(file)]) == 2 and file.read_text() == before
    assert re.search(r"page\.md: \S+o/t\.json: No such file", capsys.readouterr().err)
    (file.parent / "o/t.json").write_text(json.dumps(outcome))
    cut = before.replace("<!-- end -->", "", 1)
    file.write_text(cut)
    assert document.main([str(file)]) == 2 and file.read_text() == cut
    assert "page.md: expected <!-- end --> after the block of o/t.json, found none" in capsys.readouterr().err
    file.write_text("<!-- o/t.json classes other -->\n<!-- end -->")
    with pytest.raises(InputError, match=r"o/t.json: expected a row that was run, found 'other'"):
        document.updated(file)
    file.write_text("<!-- all of nowhere -->\n<!-- end -->")
    with pytest.raises(InputError, match=r"page\.md: expected a folder of records, found no nowhere"):
        document.updated(file)
