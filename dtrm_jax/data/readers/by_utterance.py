"""Vectors of files by utterance, joined to the turns that the clips are of."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.readers.utterance_vectors import Vectors
from dtrm_jax.errors import InputError

Splits = dict[str, tuple[Conversation, ...]]
# Split that a file says ("" if none), the clip's name -> the name of its turn over all splits; None for no turn's name.
# Raises ValueError, whose message is a part of a line.
TurnOf = Callable[[str, str], str | None]
# Split, conversation, turn -> the same.
NameOf = Callable[[str, Conversation, Turn], str]


def with_vectors(
    splits: Splits, files: Sequence[Vectors], *, turn_of: TurnOf, name_of: NameOf
) -> tuple[Splits, list[str]]:
    """Joins the vectors of files. A turn without a clip lacks the modality; a clip without a turn is left out.

    Args:
        splits: The conversations.
        files: Each of another modality.
        turn_of: Which turn a clip is of.
        name_of: What that turn is called.

    Returns:
        The conversations with the features, and a line for each file that says what was joined.

    Raises:
        InputError: Two files have the same modality, a turn has two clips, or none of a file's clips is of a turn.
    """
    notes = []
    for vectors in files:
        taken = any(vectors.feature in c.features for conversations in splits.values() for c in conversations)
        if taken:
            raise InputError(
                f"{vectors.path}: another file of the folder has {vectors.feature} features too; leave one of them out"
            )
        splits, note = _joined(splits, vectors, turn_of, name_of)
        notes.append(note)
    return splits, notes


def _joined(splits: Splits, vectors: Vectors, turn_of: TurnOf, name_of: NameOf) -> tuple[Splits, str]:
    rows, strangers = _rows(vectors, turn_of)
    found, lacking, unused = {}, {}, dict(rows)
    for split, conversations in splits.items():
        changed, lacking[split] = [], 0
        for conversation in conversations:
            names = [name_of(split, conversation, turn) for turn in conversation.turns]
            places = np.array([rows.get(name, -1) for name in names])
            matrix = vectors.matrix[places]
            matrix[places < 0] = np.nan
            lacking[split] += int(np.isnan(matrix[:, 0]).sum())
            for name in names:
                unused.pop(name, None)
            features = {**conversation.features, vectors.feature: matrix}
            changed.append(dataclasses.replace(conversation, features=features))
        found[split] = tuple(changed)
    strangers += [vectors.clips[row][1] for row in unused.values()]
    turns = sum(len(c) for conversations in splits.values() for c in conversations)
    if len(unused) == len(rows):
        raise InputError(f"{vectors.path}: expected the names of turns, found others, such as {strangers[0][:60]!r}")
    return found, _note(vectors, turns, lacking, strangers)


def _rows(vectors: Vectors, turn_of: TurnOf) -> tuple[dict[str, int], list[str]]:
    """Returns the row of each turn that a clip's name tells, and the names that tell none."""
    rows: dict[str, int] = {}
    strangers = []
    for row, (split, clip) in enumerate(vectors.clips):
        try:
            name = turn_of(split, clip)
        except ValueError as error:
            raise InputError(f"{vectors.path}, utterance {clip[:60]}: {error}") from None
        if name is None:
            strangers.append(clip)
        elif name in rows:
            other = vectors.clips[rows[name]][1]
            raise InputError(
                f"{vectors.path}, utterance {clip[:60]}: expected each turn once, found {other[:60]!r} too"
            )
        else:
            rows[name] = row
    return rows, strangers


def _note(vectors: Vectors, turns: int, lacking: Mapping[str, int], strangers: Sequence[str]) -> str:
    without = sum(lacking.values())
    size, of = vectors.matrix.shape[1], f"{turns - without} of {turns} turns"
    note = f"{vectors.path.name}: {size} {vectors.feature} features of {of}"
    if without:
        note += f" (missing: {', '.join(f'{count} of {split}' for split, count in lacking.items() if count)})"
    if strangers:
        clips = "1 clip is of no turn and" if len(strangers) == 1 else f"{len(strangers)} clips are of no turn and"
        note += f"; {clips} left out, such as {strangers[0][:60]}"
    if vectors.left_out:
        note += f"; no features by their names: {', '.join(repr(name[:40]) for name in vectors.left_out[:20])}"
    return note
