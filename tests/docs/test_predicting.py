"""What ``docs/predicting.md`` says of Python, run as it is printed."""

import re

from tests.runs import ROOT, tiny_run_config
from tests.trained import random_run

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_examples_run_one_after_another(tmp_path, monkeypatch, capsys):
    blocks = BLOCK.findall((ROOT / "docs" / "predicting.md").read_text(encoding="utf-8"))
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    random_run(tiny_run_config(tmp_path / "cache"), tmp_path / "runs" / "meld_minilm")
    scope = {}
    printed = []
    for block in blocks:
        exec(block, scope)
        printed.append(capsys.readouterr().out.splitlines())
    labels = scope["predictor"].labels
    whole, live = printed[0], printed[2]
    assert [line.split()[0] for line in whole] == ["1", "2", "3"]
    assert [line.split()[0] for line in live] == ["Ann", "Bob", "Ann"]
    assert [line.split()[1] for line in whole] == [line.split()[1] for line in live]
    assert {line.split()[1] for line in live} <= set(labels)
    assert all(0.2 <= float(line.split()[2]) <= 1 for line in whole)
