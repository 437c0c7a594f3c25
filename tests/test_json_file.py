"""JSON files are laid out for people, and errors are one line."""

import json

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json, read_object, write_json


def test_metrics_are_laid_out_for_people(tmp_path):
    metrics = {
        "accuracy": 0.5,
        "per_class": {"überrascht": {"f1": 0.1, "support": 3}, "b": {"f1": 0.2, "support": 5}},
        "labels": ["überrascht", "b"],
        "confusion_matrix": [[1, 2], [3, 4]],
        "n": 8,
        "empty": {},
    }
    write_json(tmp_path / "new" / "metrics.json", metrics)
    text = (tmp_path / "new" / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == metrics
    assert text.splitlines() == [
        "{",
        '  "accuracy": 0.5,',
        '  "n": 8,',
        '  "per_class": {',
        '    "überrascht": {"f1": 0.1, "support": 3},',
        '    "b": {"f1": 0.2, "support": 5}',
        "  },",
        '  "labels": ["überrascht", "b"],',
        '  "confusion_matrix": [',
        "    [1, 2],",
        "    [3, 4]",
        "  ],",
        '  "empty": {}',
        "}",
    ]
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [{"loss": float("nan")}, {"per_class": {"a": {"f1": float("inf")}}}, {"n": object()}])
def test_what_json_cannot_hold_are_refused(tmp_path, bad):
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "metrics.json", bad)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: expected the results of an evaluation: No such file"):
        read_json(tmp_path / "a.json", "the results of an evaluation")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json", "the results of an evaluation")


def test_what_is_no_object_is_refused_where_one_is_needed(tmp_path):
    (tmp_path / "a.json").write_text('{"b": [1]}')
    assert read_object(tmp_path / "a.json", "the results of an evaluation") == {"b": [1]}
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(InputError, match=r"a\.json: expected a JSON object, found list$"):
        read_object(tmp_path / "a.json", "the results of an evaluation")
