"""The command's own mistakes are one line each, and nothing is written."""

import pytest

from tests.extraction import killing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("video", "talks.csv"), "expected audio or text, found video"),
        (("audio", "--run", "runs/x", "talks.csv"), "--run: is for text, not for audio"),
        (("audio",), "audio: expected one TABLE, found none"),
        (("text",), "text: expected --run, a trained model"),
        (("text", "--run", "nowhere"), "nowhere/config.json: expected a run directory"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, message):
    done = killing.run(tmp_path / "cache", *arguments, "--output", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()
