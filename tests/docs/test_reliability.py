"""``docs/reliability.md`` says what the fault suite has counted: nothing lost or silent, no traceback, no hang."""

import json
import runpy

import pytest

from tests.runs import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_reliability.py"))


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads((ROOT / "results" / "faults.json").read_text(encoding="utf-8"))


def test_the_page_is_current(results):
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert MAKER["written"](page, results) == page, "run: make tables"


def test_all_of_the_suite_was_run_and_nothing_failed(results):
    suite = results["suite"]
    assert suite["faults"] == "all", "run: make reliability"
    assert suite["failed"] == 0 and suite["passed"] > 0
    assert suite["cpu_seconds"] < 2 * 15 * 60, "a quarter of an hour on two cores"
    for title, row in results["counts"].items():
        assert row["tried"] > 0, title
        assert not any(row.get(name) for name in MAKER["NEVER"]), title
        assert row["tried"] == sum(row.get(name, 0) for name in ("survived", "read", "refused")), title


def test_counts_become_rows(tmp_path):
    suite = {
        "faults": "all",
        "date": "2026-01-02",
        "with": "jax 1",
        "passed": 9,
        "failed": 1,
        "skipped": 2,
        "seconds": 130,
        "cpu_seconds": 70,
    }
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    counts = {
        "test_a-1": {"title": "Kills", "tried": 1200, "survived": 1200, "lost": 0, "slowest_seconds": 0.5},
        "test_a-2": {"title": "Kills", "tried": 3, "survived": 2, "refused": 1, "lost": 0},
        "test_b": {"title": "Tables | rows", "read": 5, "refused": 7, "silent": 0},
    }
    for name, values in counts.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
    found = MAKER["gathered"](tmp_path)
    assert found["suite"] == suite
    blocks = "".join(f"<!-- {name} -->\nold\n<!-- end -->\n" for name in ("suite", "faults", "inputs"))
    text = MAKER["written"](f"before\n{blocks}after", found)
    assert text.startswith("before\n<!-- suite -->\n") and text.endswith("\nafter") and "old" not in text
    what = "`make faults`, 2026-01-02, jax 1: 9 tests passed, 1 failed, 2 were skipped"
    assert f"{what}, in 1 minutes of processor time and 2 minutes by the clock." in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows == [
        "| fault | tried | survived | refused | lost | silent | tracebacks | hangs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| Kills | 1,203 | 1,202 | 1 | 0 |  |  |  |",
        "| **all** | 1,203 | 1,202 | 1 | 0 | 0 | 0 | 0 |",
        "| inputs | tried | read | refused | silent | tracebacks | hangs |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| Tables \\| rows | 12 | 5 | 7 | 0 |  |  |",
        "| **all** | 12 | 5 | 7 | 0 | 0 | 0 |",
    ]
    assert MAKER["written"](text, found) == text


def test_a_run_that_was_cut_short_becomes_no_result(tmp_path):
    with pytest.raises(FileNotFoundError):
        MAKER["gathered"](tmp_path)
