"""The columns of people's own tables: which of a file's names is the conversation, the speaker, the text.

A file may use the project's names, or ``config.data.columns`` says its own: ``speaker=Name,text=Utterance``.
What differs from the project's names in case, spaces or underscores alone is taken all the same, and said.
"""

import csv
import difflib
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

from dtrm_jax.conversation import FEATURES
from dtrm_jax.data.readers import csv_file
from dtrm_jax.errors import InputError, did_you_mean

VALUE_PREFIX = "value_"
# The columns of a table that may bear a forgivingly written name.
PLAIN = ("conversation", "turn", "speaker", "text", "label")
# Where the recording of a turn is, for tables that acoustic features are extracted for; others ignore these columns.
RECORDING = ("audio", "start", "end")
# The turns of a conversation as a list of objects, for files with one row per conversation.
TURNS = "turns"

# Other names that tables of the field use. They are proposed, never taken by themselves.
_OTHERS = {
    "conversation": ("conversation_id", "dialogue_id", "dialog_id", "scene_id", "session", "thread", "id"),
    "turn": ("turn_id", "utterance_id", "index", "number"),
    "speaker": ("speakers", "name", "role", "author", "user", "from"),
    "text": ("utterance", "utterances", "dialog", "dialogue", "sentence", "content", "message", "transcript"),
    "label": ("labels", "emotion", "emotions", "sentiment", "class", "target"),
    "audio": ("audio_file", "audio_path", "file", "filename", "path", "recording", "wav", "clip"),
}
# What the setting is called where training reads; a command may have a flag of another name for it.
SETTING = "config.data.columns"
_LIKENESS = 0.75  # of names, from which one is proposed for the other


def parse(given: str, setting: str = SETTING) -> dict[str, str]:
    """Returns the project's name -> the file's name, as ``config.data.columns`` gives them.

    A name with a comma in it stands in double quotes with its part: ``"text=Text, cleaned",label=Emotion``.

    Args:
        given: The value.
        setting: What it is called in errors.

    Raises:
        InputError: A part is not ``name=name``, or a name is unknown or there twice.
    """
    parts = next(csv.reader([given], skipinitialspace=True), [])
    named: dict[str, str] = {}
    for part in filter(str.strip, parts):
        ours, equals, theirs = part.partition("=")
        ours = ours.strip()
        if not equals or not theirs.strip():
            raise InputError(f"{setting}: expected name=column, as in text=Utterance, found {part!r}")
        if ours not in (*PLAIN, TURNS, *FEATURES, *RECORDING) and not ours.startswith(VALUE_PREFIX):
            known = (*PLAIN, TURNS, *RECORDING, f"{VALUE_PREFIX}<name>", *FEATURES)
            raise InputError(f"{setting}: expected one of {', '.join(known)}, found {ours!r}{_hint(ours)}")
        if ours in named or theirs in named.values():
            raise InputError(f"{setting}: expected each name once, found {part!r} after another")
        named[ours] = theirs
    return named


def resolve(
    path: pathlib.Path, found: Sequence[str], named: Mapping[str, str], setting: str = SETTING
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Finds the project's columns in a file.

    Args:
        path: The file, for errors and notes.
        found: Its columns.
        named: As `parse` returns it.
        setting: What it is called in errors.

    Returns:
        The file's name -> the project's, for the columns that it knows; and the notes on what was forgiven.

    Raises:
        InputError: A column of ``named`` is missing, or two columns could be the same; names those found.
    """
    csv_file.require_once(path, found)
    names, forgiven, beside = {}, {}, []
    for ours, theirs in named.items():
        column = _one(path, ours, theirs, found, setting)
        names[column] = ours
        if column != theirs:
            forgiven[column] = theirs
    taken = set(named)
    for ours in (*PLAIN, TURNS, *FEATURES, *RECORDING, *(name for name in found if name.startswith(VALUE_PREFIX))):
        if ours in found and ours not in names and ours not in taken:
            names[ours] = ours
            taken.add(ours)
    for ours in [*PLAIN, *_written_values(found)]:
        like = [name for name in found if name not in names and alike(name, ours)]
        if ours in taken or not like:
            beside += [f"{column!r}, beside {ours}" for column in like if ours not in named]
            continue
        if len(like) > 1:
            raise InputError(f"{path}: expected one column {ours}, found {', '.join(map(repr, like))}")
        names[like[0]] = forgiven[like[0]] = ours
    read = (f"{column!r} as {ours}" for column, ours in forgiven.items())
    notes = [f"reads the columns {', '.join(read)}"] if forgiven else []
    notes += [f"does not read the columns {'; '.join(beside)}"] if beside else []
    return names, tuple(notes)


def require(
    path: pathlib.Path,
    found: Collection[str],
    names: Mapping[str, str],
    required: Sequence[str],
    setting: str = SETTING,
) -> None:
    """Checks that a file has columns. The error proposes names for the others that the project knows as well.

    Args:
        path: The file, for the error.
        found: Its columns.
        names: As `resolve` returns it.
        required: The project's names of the columns.
        setting: What names them, in the error.

    Raises:
        InputError: Names the missing ones, the columns found and, for each, the nearest of them.
    """
    missing = [name for name in required if name not in names.values()]
    if not missing:
        return
    free = [name for name in found if names.get(name) in (None, "utterance")]  # which may be texts, not features
    proposed = []
    for name in (name for name in PLAIN if name not in names.values()):
        near = nearest(name, free)
        if near:
            free.remove(near)
        if near or name in missing:
            proposed.append(f"{name}={near or 'NAME'}")
    example = ",".join(proposed)
    raise InputError(
        f"{path}: expected the columns {', '.join(required)}, missing: {', '.join(missing)}; found "
        f"{shown(found)}; name yours, as in --{setting}={example}"
    )


def nearest(ours: str, found: Collection[str]) -> str | None:
    """Returns the column that a project's name probably means: the same, one that the field uses, or one alike."""
    plain = {plain_name(name): name for name in reversed(list(found))}
    for name in (ours, *_OTHERS.get(ours, ())):
        if name in plain:
            return plain[name]
    near = difflib.get_close_matches(ours, plain, n=1, cutoff=_LIKENESS)
    return plain[near[0]] if near else None


def alike(name: str, other: str) -> bool:
    """Whether two names differ at most in what is forgiven: case, spaces at their ends, spaces for underscores."""
    return plain_name(name) == plain_name(other)


def shown(found: Collection[str]) -> str:
    """Returns the columns of a file for a message: the first twelve."""
    names = [name.strip()[:40] for name in found]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _one(path: pathlib.Path, ours: str, theirs: str, found: Sequence[str], setting: str) -> str:
    """Returns the column that ``named`` means: the one of that name, or the only one that is written alike."""
    if theirs in found:
        return theirs
    like = [name for name in found if alike(name, theirs)]
    if len(like) == 1:
        return like[0]
    plain = {plain_name(name): name for name in found}
    near = difflib.get_close_matches(plain_name(theirs), plain, n=1, cutoff=_LIKENESS)
    likely = plain[near[0]] if near else nearest(ours, found)
    hint = f"; did you mean {likely}?" if likely else ""
    raise InputError(f"{path}: {setting}: expected a column {theirs} for {ours}, found {shown(found)}{hint}")


def _written_values(found: Sequence[str]) -> list[str]:
    """Returns how columns of real values, perhaps in capitals, are called by the project."""
    names = (plain_name(name) for name in found if not name.startswith(VALUE_PREFIX))
    return sorted({name for name in names if name.startswith(VALUE_PREFIX)})


def plain_name(name: str) -> str:
    """Returns a name without what is forgiven: case, spaces at its ends, and spaces for underscores."""
    return re.sub(r"[\s_]+", "_", name.strip()).casefold()


def _hint(ours: str) -> str:
    plain = plain_name(ours)
    theirs = next((name for name, others in _OTHERS.items() if plain in others), None)
    return f"; did you mean {theirs}?" if theirs else did_you_mean(plain, (*PLAIN, TURNS, *FEATURES, *RECORDING))
