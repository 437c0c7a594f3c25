"""Live conversations that go on from request to request: bounded in number, and forgotten when nobody uses them."""

import asyncio
import collections
import dataclasses
import secrets
from collections.abc import Callable

from dtrm_jax.inference.stream import Stream
from dtrm_jax.serving.limits import Limits, Refused


@dataclasses.dataclass(frozen=True)
class Session:
    """One live conversation.

    Attributes:
        stream: Which predicts its turns.
        lock: Held while turns are added, so that those of two requests do not mix.
    """

    stream: Stream
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class Sessions:
    """The sessions of a service. They are used from one thread, that of its loop.

    Args:
        limits: How many there may be, and for how long one may be idle.
        clock: Returns seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]):
        self._limits, self._clock = limits, clock
        # The one that was not used for the longest comes first.
        self._sessions: collections.OrderedDict[str, tuple[float, Session]] = collections.OrderedDict()

    def __len__(self) -> int:
        self._forget()
        return len(self._sessions)

    def begin(self, make: Callable[[], Session]) -> str:
        """Begins a session; returns its id, which nobody can guess.

        Raises:
            Refused: There are as many as there may be.
        """
        self._forget()
        if len(self._sessions) >= self._limits.sessions:
            raise Refused(503, f"expected at most {self._limits.sessions} sessions at once, all of them are in use")
        name = secrets.token_urlsafe(16)
        self._sessions[name] = (self._clock(), make())
        return name

    def use(self, name: str) -> Session:
        """Returns a session, whose time begins anew.

        Raises:
            Refused: There is none, or not any more.
        """
        self._forget()
        if name not in self._sessions:
            raise Refused(404, f"no such session; one ends after {self._limits.idle:g} seconds without a turn")
        _, session = self._sessions[name]
        self._sessions[name] = (self._clock(), session)
        self._sessions.move_to_end(name)
        return session

    def end(self, name: str) -> None:
        """Ends a session.

        Raises:
            Refused: There is none.
        """
        self.use(name)
        del self._sessions[name]

    def _forget(self) -> None:
        oldest = self._clock() - self._limits.idle
        while self._sessions and next(iter(self._sessions.values()))[0] < oldest:
            self._sessions.popitem(last=False)
