"""Writes the tables of ``docs/reliability.md`` from the counts of the fault suite.

    python docs/make_reliability.py                  from results/faults.json
    python docs/make_reliability.py .cache/faults    from a run of ``make faults``, which becomes results/faults.json

A row that was counted while something failed must not look like a success: the number of failed tests stands above the
tables, and a run of which a test failed is kept with it.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "reliability.md", ROOT / "results" / "faults.json"
# A row has "survived" if it is a fault in a training, and not an input to a reader.
FAULTS = ("tried", "survived", "refused", "lost", "silent", "tracebacks", "hangs")
INPUTS = ("tried", "read", "refused", "silent", "tracebacks", "hangs")
# What has to be zero in every row.
NEVER = ("lost", "silent", "tracebacks", "hangs")
_BLOCK = re.compile(r"(<!-- (suite|faults|inputs) -->\n).*?(<!-- end -->)", re.DOTALL)


def gathered(folder: Path) -> dict[str, Any]:
    """Returns the counts of a run of the suite: ``suite``, and ``counts``, those of one title added up.

    Args:
        folder: Where ``tests/faults`` has left them (``--fault-counts``).

    Raises:
        FileNotFoundError: The suite did not come to its end.
    """
    suite = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    rows: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("test_*.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        row = rows.setdefault(values.pop("title"), {})
        for name in {*FAULTS, *INPUTS} & values.keys():
            row[name] = row.get(name, 0) + values[name]
    for row in rows.values():
        row.setdefault("tried", row.get("survived", 0) + row.get("read", 0) + row.get("refused", 0))
    return {"suite": suite, "counts": {title: rows[title] for title in sorted(rows)}}


def written(text: str, results: Mapping[str, Any]) -> str:
    """Returns the text of the page with its blocks written from the counts."""
    faults = {title: row for title, row in results["counts"].items() if "survived" in row}
    inputs = {title: row for title, row in results["counts"].items() if "survived" not in row}
    blocks = {
        "suite": _suite(results["suite"]),
        "faults": _table("fault", FAULTS, faults),
        "inputs": _table("inputs", INPUTS, inputs),
    }
    return _BLOCK.sub(lambda block: f"{block[1]}\n{blocks[block[2]]}\n\n{block[3]}", text)


def _suite(suite: Mapping[str, Any]) -> str:
    what = "`make faults`" if suite["faults"] == "all" else "The short part of the suite that `make test` runs"
    return (
        f"{what}, {suite['date']}, {suite['with']}: {suite['passed']} tests passed, {suite['failed']} failed, "
        f"{suite['skipped']} were skipped, in {suite['cpu_seconds'] / 60:.0f} minutes of processor time and "
        f"{suite['seconds'] / 60:.0f} minutes by the clock.{' ' * ('note' in suite)}{suite.get('note', '')}"
    )


def _table(what: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, int]]) -> str:
    """Returns a table with a row per title and their sum; what a test does not count is left empty."""
    total = {name: sum(row.get(name, 0) for row in rows.values()) for name in columns}
    lines = [f"| {what} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for title, row in {**rows, "**all**": total}.items():
        shown = " ".join(title.replace("|", "\\|").split())
        lines.append(f"| {shown} | {' | '.join(f'{row[name]:,}' if name in row else '' for name in columns)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Writes the page, and before that the results if a folder of counts is given."""
    if arguments:
        results = gathered(Path(arguments[0]))
        RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
