"""What the service admits, and how it says that it refuses."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what is asked, so that no request takes the service down.

    Attributes:
        bytes: Of the body of a request.
        turns: Of a request, all of its conversations together.
        characters: Of the text of a turn, and of the name of a speaker.
        sessions: At once.
        idle: Seconds after which a session that nobody uses has ended.
        waiting: Requests that wait to be computed.
    """

    bytes: int
    turns: int
    characters: int
    sessions: int
    idle: float
    waiting: int


class Refused(Exception):
    """A request that is not answered as it asks to be.

    Args:
        status: Of HTTP.
        reason: In a line.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
