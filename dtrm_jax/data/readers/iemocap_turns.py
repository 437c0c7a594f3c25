"""IEMOCAP's own names of turns, and the turns that the field's files leave out.

The field's files number the turns of a dialogue, and have those 7,433 alone that carry one of six emotions. Clips and
transcripts name all 10,039: ``Ses01F_impro01_F000``. A json file of these names, one list for each dialogue, ties both
together; a table of all turns then brings the others back as context.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from dtrm_jax.conversation import Conversation
from dtrm_jax.data.readers import csv_file, table_rows, table_turns
from dtrm_jax.data.readers.table_files import LOADERS
from dtrm_jax.data.readers.table_rows import Row, Table
from dtrm_jax.errors import InputError
from dtrm_jax.json_file import parse_json

NAMES = "*turn_ids.json"
ALL_TURNS = "turns"

_MOST = 10**9  # seconds


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the file of names and the table of all turns, of those that a folder has.

    Raises:
        InputError: There are several of a kind, or the table without the names.
    """
    if not source.is_dir():
        return ()
    names = sorted(path for path in source.glob(NAMES) if path.is_file())
    tables = [path for kind in LOADERS if (path := source / f"{ALL_TURNS}{kind}").is_file()]
    for found in (names, tables):
        if len(found) > 1:
            raise InputError(f"{source}: expected one of {found[0].name} and {found[1].name}; leave out the other")
    if tables and not names:
        raise InputError(f"{tables[0]}: needs the names of the labelled turns beside it, {NAMES}, found none")
    return (*names, *tables)


def named(path: pathlib.Path, conversations: Mapping[str, Conversation]) -> dict[str, Conversation]:
    """Returns conversations whose turns have IEMOCAP's own names.

    Args:
        path: The file of names: conversation -> the name of each of its turns, in order.
        conversations: By id, with turns that are numbered.

    Raises:
        InputError: The file is malformed, or does not have a name for each turn; names the conversation.
    """
    try:
        content = parse_json(csv_file.read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        found = type(content).__name__
        raise InputError(f"{path}: expected an object, conversation -> names of its turns, found {found}")
    result = {}
    for id, conversation in conversations.items():
        names, where = content.get(id), f"{path}, conversation {id[:40]!r}"
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise InputError(f"{where}: expected a list of names, found {'nothing' if names is None else 'others'}")
        if len(names) != len(conversation) or len(set(names)) < len(names):
            raise InputError(f"{where}: expected {len(conversation)} names, each once, found {len(set(names))}")
        turns = (dataclasses.replace(turn, id=name) for turn, name in zip(conversation.turns, names, strict=True))
        result[id] = dataclasses.replace(conversation, turns=tuple(turns))
    return result


def with_all_turns(
    path: pathlib.Path, conversations: Mapping[str, Conversation]
) -> tuple[dict[str, Conversation], list[str]]:
    """Adds the turns of a table that conversations lack, without a label and without features.

    Args:
        path: The table: conversation, turn (IEMOCAP's own name), speaker and text, in the order of the turns, or in any
            order with a column ``start`` in seconds.
        conversations: By id, with turns that have IEMOCAP's own names.

    Returns:
        The conversations, and what was forgiven and added, a line each.

    Raises:
        InputError: The table is malformed, lacks a turn that the conversations have, or has turns in another order than
            they have and no column ``start``; names the row, the turn or the conversation.
    """
    table = table_rows.load(path, "", labels_needed=False)
    if "turn" not in table.columns:
        raise InputError(f"{path}: expected a column turn with IEMOCAP's own names, as Ses01F_impro01_F000, found none")
    told = {one.id: one for one in table_turns.conversations(_in_time(table), None)}
    result, timed = {}, "start" in table.columns
    moved: list[str] = []
    for id, conversation in conversations.items():
        if id not in told:
            raise InputError(f"{path}: expected a conversation {id[:40]!r}, found none")
        result[id] = _with_turns(path, conversation, told[id])
        if not _in_order(conversation, result[id]):
            moved.append(id)
    if moved and not timed:
        raise InputError(
            f"{path}: expected the turns of {moved[0][:40]!r} in the order of the other file, as there is no column "
            f"start, found another order in {len(moved)} conversations"
        )
    labelled = sum(map(len, conversations.values()))
    added = sum(map(len, result.values())) - labelled
    note = f"{path.name}: {added} turns without a label are context for the {labelled} others"
    if strangers := [id for id in told if id not in conversations]:
        note += f"; conversations of no other file are left out: {len(strangers)}, such as {strangers[0][:40]}"
    if moved:
        note += f"; by the column start, turns of {len(moved)} conversations, such as {moved[0][:40]}, change places"
    return result, [*table_rows.said([table]), note]


def _in_order(conversation: Conversation, whole: Conversation) -> bool:
    """Whether the turns of a conversation follow one another in ``whole`` as they do in itself."""
    known = {turn.id for turn in conversation.turns}
    return [turn.id for turn in conversation.turns] == [turn.id for turn in whole.turns if turn.id in known]


def _with_turns(path: pathlib.Path, conversation: Conversation, whole: Conversation) -> Conversation:
    """Returns the turns of ``whole`` in its order, those that the conversation has as they are there."""
    places = {turn.id: place for place, turn in enumerate(conversation.turns)}
    rows = np.array([places.get(turn.id, -1) for turn in whole.turns])
    if missing := places.keys() - {turn.id for turn in whole.turns}:
        raise InputError(f"{path}: expected all turns of {conversation.id}, found none called {min(missing)[:40]!r}")
    speakers = _speakers(path, conversation, whole, rows)
    turns = tuple(
        conversation.turns[row]
        if row >= 0
        else dataclasses.replace(turn, speaker=speakers.get(turn.speaker, turn.speaker))
        for row, turn in zip(rows.tolist(), whole.turns, strict=True)
    )
    features = {name: matrix[rows] for name, matrix in conversation.features.items()}
    for matrix in features.values():
        matrix[rows < 0] = np.nan
    return Conversation(conversation.id, turns, features)


def _speakers(path: pathlib.Path, conversation: Conversation, whole: Conversation, rows: np.ndarray) -> dict[str, str]:
    """Returns what the conversation calls the speakers of ``whole``, from the turns that both have."""
    speakers: dict[str, str] = {}
    for turn, row in zip(whole.turns, rows.tolist(), strict=True):
        if row < 0:
            continue
        speaker = conversation.turns[row].speaker
        if speakers.setdefault(turn.speaker, speaker) != speaker:
            found = f"{turn.speaker[:40]!r}, who is {speakers[turn.speaker]} elsewhere"
            raise InputError(f"{path}, turn {turn.id[:40]!r}: expected the words of {speaker}, found {found}")
    return speakers


def _in_time(table: Table) -> Table:
    """Returns the table with its rows in the order in which turns start, if it says when; else as it is."""
    if "start" not in table.columns:
        return table
    return dataclasses.replace(table, rows=sorted(table.rows, key=lambda row: _start(table, row)))


def _start(table: Table, row: Row) -> float:
    value = row.values.get("start")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = np.nan
    if not abs(seconds) < _MOST:
        raise InputError(f"{table.at(row)}: expected seconds as start, found {str(value)[:40]!r}")
    return seconds
