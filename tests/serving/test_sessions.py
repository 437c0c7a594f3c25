"""Sessions end by themselves."""

import dataclasses

import pytest

from dtrm_jax.serving.limits import Refused
from dtrm_jax.serving.sessions import Session, Sessions
from tests.serving.conftest import LIMITS


def test_a_session_that_nobody_uses_ends_and_makes_room():
    now = [0.0]
    sessions = Sessions(dataclasses.replace(LIMITS, sessions=2, idle=10.0), lambda: now[0])
    made = iter([Session(None), Session(None), Session(None)])
    first, second = sessions.begin(lambda: next(made)), sessions.begin(lambda: next(made))
    assert first != second and min(map(len, (first, second))) >= 20
    now[0] = 8.0
    used = sessions.use(first)
    with pytest.raises(Refused, match="at most 2 sessions at once"):
        sessions.begin(lambda: next(made))
    now[0] = 15.0  # 15 seconds after the second was used, 7 after the first was
    assert len(sessions) == 1 and sessions.use(first) is used
    with pytest.raises(Refused, match="no such session; one ends after 10 seconds without a turn") as refused:
        sessions.use(second)
    assert refused.value.status == 404
    assert sessions.begin(lambda: next(made)) not in (first, second) and len(sessions) == 2
    now[0] = 40.0
    assert len(sessions) == 0
    with pytest.raises(Refused, match="no such session"):
        sessions.end(first)


def test_a_session_is_only_made_where_there_is_room():
    sessions = Sessions(dataclasses.replace(LIMITS, sessions=0), lambda: 0.0)
    with pytest.raises(Refused):
        sessions.begin(lambda: pytest.fail("made"))
