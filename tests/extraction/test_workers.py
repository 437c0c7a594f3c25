"""Processes that extract clips: what happens to them stays with the clip. No openSMILE is needed."""

import sys
import time

import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.extraction import workers
from dtrm_jax.extraction.workers import Clip, extract

PROGRAM = """
import json, os, sys, time
def send(answer):
    print(json.dumps(answer), flush=True)
if sys.argv[1] != "mute":
    send({"size": 2})
    for line in sys.stdin:
        clip = json.loads(line)
        if clip["path"] == "kills":
            open(sys.argv[0] + ".tried", "a").write("x")
            os.abort()
        if clip["path"] == "slow":
            time.sleep(60)
        if clip["path"] == "broken":
            send({"reason": "is broken"})
        else:
            send({"features": [clip["start"], clip["end"]]})
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    monkeypatch.setattr(workers, "_PROGRAM", path)
    return path


def good(number: int) -> Clip:
    return Clip("good", float(number), number + 0.1)


def test_each_clip_gets_its_own_features():
    clips = [good(number) for number in range(20)]
    found = dict(extract(clips, "any", 2, workers=3))
    assert sorted(found) == list(range(20))
    for number, features in found.items():
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, np.array([number, number + 0.1], np.float32))


def test_a_clip_that_kills_its_process_is_named_and_the_others_go_on(program):
    clips = [good(0), Clip("kills", 0, None), Clip("broken", 0, None), good(3), good(4)]
    found = dict(extract(clips, "any", 2, workers=2))
    assert found[1] == "ends openSMILE: exit status -6" and found[2] == "is broken"
    assert [found[number][0] for number in (0, 3, 4)] == [0, 3, 4]
    assert program.with_name("program.py.tried").read_text() == "xx", "it is tried twice"


def test_no_clips_need_no_processes(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert list(extract([], "any", 2, workers=2)) == []


@pytest.mark.parametrize(("feature_set", "found"), [("mute", "found nothing"), ("any", "found 2 features")])
def test_a_process_that_does_not_work_ends_the_extraction(feature_set, found):
    with pytest.raises(InputError, match=f"expected 3 features of {feature_set}, {found}"):
        list(extract([good(0)], feature_set, 3, workers=1))


def test_stopping_does_not_wait_for_the_clip_under_work():
    began = time.monotonic()
    results = extract([good(0), Clip("slow", 0, None)], "any", 2, workers=2)
    assert next(results)[0] == 0
    results.close()
    assert time.monotonic() - began < 30
