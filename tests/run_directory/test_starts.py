"""``provenance.json``: every start is kept, with what it ran on; a damaged file stops nothing and is not lost."""

import json

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.run_directory.starts import add_start, read_starts

HERE, THERE = {"versions": {"jax": "1"}, "command": ["a"]}, {"versions": {"jax": "2"}, "command": ["a"]}


def steps(found):
    return [[start["step"] for start in one["starts"]] for one in found]


def test_starts_in_one_surrounding_stand_together_and_others_follow(tmp_path):
    file = tmp_path / "provenance.json"
    assert read_starts(file) == []
    for step, surrounding in ((0, HERE), (0, HERE), (3, HERE), (5, THERE), (8, HERE)):
        assert add_start(file, step, surrounding) is None
    found = read_starts(file)
    assert steps(found) == [[0, 0, 3], [5], [8]]
    assert [{**one, "starts": 0} for one in found] == [{**one, "starts": 0} for one in (HERE, THERE, HERE)]
    assert all(start["time"].endswith("+00:00") for one in found for start in one["starts"])
    assert [path.name for path in tmp_path.iterdir()] == ["provenance.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "[1]",
        "[{}]",
        '[{"starts": []}]',
        '[{"starts": [{"step": "1", "time": ""}]}]',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_file_is_kept_aside_and_training_goes_on(tmp_path, content):
    file = tmp_path / "provenance.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"provenance\.json: "):
        read_starts(file)
    assert read_starts(file, damaged=True) == []
    said = add_start(file, 4, HERE)
    assert "it is now provenance.json.damaged, and training goes on" in said and str(file) in said
    assert steps(json.loads(file.read_text())) == [[4]]
    assert (tmp_path / "provenance.json.damaged").read_bytes() == content.encode("latin-1")
