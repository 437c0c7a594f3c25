"""From the body of a request to conversations, checked."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NoReturn

from dtrm_jax.conversation import FEATURES, Conversation
from dtrm_jax.data.readers.table_files import transcript_lines, transcript_row
from dtrm_jax.errors import InputError, printable
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.serving.limits import Limits, Refused

_TRANSCRIPT = pathlib.Path("transcript")  # its name in messages
_TURN = ("speaker", "text", *FEATURES)  # in a session, which numbers its turns


def parse(body: bytes) -> dict[str, Any]:
    """Returns the object that a body of JSON holds.

    Raises:
        InputError: It is no JSON, or no object.
    """
    try:
        values = json.loads(body, parse_constant=_no_number)
    except RecursionError:
        raise InputError("expected JSON, found too many brackets in one another") from None
    except ValueError as error:  # of JSON, of UTF-8, and of numbers with too many digits
        raise InputError(f"expected JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"expected a JSON object, found {_kind(values)}")
    return values


def whole(values: Mapping[str, Any], predictor: Predictor, limits: Limits) -> tuple[bool, list[Conversation]]:
    """Returns whether one conversation was given, and the conversations.

    Args:
        values: Of the body: ``turns``, a list of turns; ``transcript``, lines of ``Speaker: text``; or
            ``conversations``, a list of lists of turns.
        predictor: Of the model.
        limits: Of the service.

    Raises:
        InputError: Something is missing, unknown or malformed; names the conversation and the turn.
        Refused: There are more turns than a request may have.
    """
    key = _only(values, ("turns", "transcript", "conversations"))
    if key != "conversations":
        return True, [_conversation(key, values[key], predictor, limits, 1)]
    given = values[key]
    if not isinstance(given, list) or not given:
        raise InputError(f"conversations: expected a list of conversations, found {_kind(given)}")
    _count(sum(len(one) for one in given if isinstance(one, list)), limits)
    return False, [_conversation("turns", one, predictor, limits, number) for number, one in enumerate(given, start=1)]


def further(
    values: Mapping[str, Any], predictor: Predictor, limits: Limits, *, begun: bool
) -> tuple[bool, Conversation]:
    """Returns whether one turn was given, and the turns with which a session goes on.

    Args:
        values: Of the body: those of a turn; or ``turns`` or ``transcript``, as for ``whole``.
        predictor: Of the model.
        limits: Of the service.
        begun: Whether the session has turns.

    Raises:
        InputError: As ``whole``.
        Refused: As ``whole``.
    """
    if "turns" in values or "transcript" in values:
        key = _only(values, ("turns", "transcript"))
        given = values[key] if isinstance(values[key], list) else []
        if any(isinstance(turn, dict) and "id" in turn for turn in given):
            raise InputError("turns: expected no id, as a session numbers its turns, found one")
        return False, _conversation(key, values[key], predictor, limits, 1, begun)
    if unknown := [key for key in values if key not in _TURN]:
        raise InputError(f"expected turns, transcript or some of {', '.join(_TURN)}, found {unknown[0][:60]!r}")
    return True, _conversation("turns", [dict(values)], predictor, limits, 1, begun)


def _conversation(
    key: str, given: Any, predictor: Predictor, limits: Limits, number: int, begun: bool = False
) -> Conversation:
    if key == "transcript":
        if not isinstance(given, str):
            raise InputError(f"transcript: expected a text, found {_kind(given)}")
        turns: Any = [transcript_row(_TRANSCRIPT, line, text) for line, text in transcript_lines(given)]
        if not turns:
            raise InputError("transcript: expected lines of Speaker: text, found none")
    else:
        turns = given
        if not isinstance(turns, list) or not turns:
            raise InputError(f"conversation {number}: expected a list of turns, found {_kind(turns)}")
    _count(len(turns), limits)
    conversation = predictor.checked(turns, number, begun=begun)
    for turn in conversation.turns:
        if (length := max(map(len, (turn.id, turn.speaker, turn.text)))) > limits.characters:
            where = f"conversation {number}, turn {printable(turn.id, 60)}"
            raise Refused(413, f"{where}: expected at most {limits.characters} characters, found {length}")
    return conversation


def _count(turns: int, limits: Limits) -> None:
    if turns > limits.turns:
        raise Refused(413, f"expected at most {limits.turns} turns in a request, found {turns}")


def _only(values: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Returns the one key of the body."""
    if len(values) != 1 or next(iter(values)) not in keys:
        found = ", ".join(repr(key[:60]) for key in list(values)[:5]) or "nothing"
        raise InputError(f"expected one of {', '.join(keys)}, found {found}")
    return next(iter(values))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    if value in ([], ""):
        return "an empty one"
    return names.get(type(value), "a number")
