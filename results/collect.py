"""Keeps finished runs as small JSON files, and prints them as a table.

``python results/collect.py runs/meld_minilm-0 runs/meld_minilm-1`` stores ``results/<config>-seed<seed>.json`` for each
run: its config, when its best checkpoint was reached, and the metrics of ``eval.py`` on dev and test. Without arguments
the stored results are printed as a Markdown table, mean and standard deviation over seeds.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCORES = ("weighted_f1", "accuracy", "macro_f1")


def collect(run: Path) -> Path:
    """Stores one run; its dev and test splits must have been evaluated with ``eval.py``."""
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"source": "", "cache": ""}  # folders of one machine
    metrics = {split: json.loads((run / "eval" / split / "metrics.json").read_text()) for split in ("dev", "test")}
    if metrics["dev"]["step"] != metrics["test"]["step"] or metrics["test"]["checkpoint"] != "best":
        raise SystemExit(
            f"{run}: expected dev and test of the best checkpoint; run eval.py --split dev and --split test"
        )
    file = FOLDER / f"{config['name']}-seed{config['train']['seed']}.json"
    file.write_text(json.dumps({"config": config, **metrics}, indent=1) + "\n")
    return file


def table() -> str:
    """Returns the stored results, a row a config."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in sorted(FOLDER.glob("*.json")):
        result = json.loads(file.read_text())
        groups[result["config"]["name"]].append(result)
    lines = [
        "| config | seeds | dev weighted F1 | test weighted F1 | test accuracy | test macro F1 |",
        "|---" * 6 + "|",
    ]
    for name, results in groups.items():
        cells = [_mean([result["dev"]["weighted_f1"] for result in results])]
        cells += [_mean([result["test"][score] for result in results]) for score in SCORES]
        lines.append(f"| {name} | {len(results)} | {' | '.join(cells)} |")
    for name, results in groups.items():
        lines += ["", f"{name}, test F1 by class:", ""]
        classes = results[0]["test"]["per_class"]
        f1 = [_mean([result["test"]["per_class"][label]["f1"] for result in results]) for label in classes]
        lines += ["| " + " | ".join(classes) + " |", "|---" * len(classes) + "|", "| " + " | ".join(f1) + " |"]
    return "\n".join(lines)


def _mean(fractions: list[float]) -> str:
    percent = [100 * value for value in fractions]
    spread = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.mean(percent):.1f}{spread}"


if __name__ == "__main__":
    for run in sys.argv[1:]:
        print(collect(Path(run)))
    print(table())
