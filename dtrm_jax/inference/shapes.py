"""The few shapes that a model's packs have in prediction: they follow from the trained model alone.

Each is compiled once, when a conversation needs it. A conversation that does not fit into the largest is cut into packs
that go on with one another; if the model cannot do that, it gets a pack of its own, whose size is the next power of
two.

A turn of a live conversation is a pack of its own, of one row as long as its sequence, rounded up.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

from dtrm_jax.batch import PackShape
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing.plan import PackFiller
from dtrm_jax.data.packing.shape import aligned
from dtrm_jax.inference.trained import Trained

# The packs of few turns have these parts of the rows of training, and of its utterance slots, which cost little.
_PARTS = ((1 / 8, 1 / 4), (3 / 8, 1 / 2))
_STEPS = 8  # the length of a single row is rounded up to one of so many between two powers of two


def of_turn(length: int, features: tuple[tuple[str, int], ...], values: int) -> PackShape:
    """Returns the shape of a pack of one turn.

    Args:
        length: Tokens of its sequence; 0 if no text is encoded.
        features: As in ``PackShape``.
        values: As in ``PackShape``.
    """
    if not length:
        return PackShape((), 1, values=values, features=features)
    rounded = aligned(length, max(aligned(1), 2 ** (length - 1).bit_length() // _STEPS))
    return PackShape(((rounded, 1),), 1, values=values, features=features)


def of_turns(longest: int, features: tuple[tuple[str, int], ...], values: int) -> list[PackShape]:
    """Returns every shape that ``of_turn`` gives for sequences of at most ``longest`` tokens."""
    return list(dict.fromkeys(of_turn(length, features, values) for length in range(min(1, longest), longest + 1)))


def ladder(trained: Trained) -> tuple[PackShape, ...]:
    """Returns the shapes, the smallest first.

    There are two for few turns, that of training, and one with a row for the longest sequence, if training had none.
    That of training finishes the encoder's last layer only for as many own tokens as the packs of training had
    (``PackShape.own_tokens``); the last one holds any number of them.
    """
    bounded = trained.manifest.shape
    unbounded = dataclasses.replace(bounded, own_tokens=0)
    few = [_part_of(unbounded, *part) for part in _PARTS]
    long = dataclasses.replace(unbounded, rows=_with_longest(trained, bounded.rows))
    return tuple(dict.fromkeys((*few, bounded, long)))


def _part_of(shape: PackShape, rows: float, utterances: float) -> PackShape:
    return dataclasses.replace(
        shape,
        rows=tuple((length, math.ceil(rows * count)) for length, count in shape.rows),
        utterances=min(aligned(math.ceil(utterances * shape.utterances)), shape.utterances),
    )


def _with_longest(trained: Trained, rows: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Returns rows of which one at least holds a sequence of ``config.tokens.max_length``."""
    longest = trained.config.tokens.max_length
    if not rows or rows[-1][0] >= longest:
        return rows
    return (*rows, (aligned(longest), 1))


def starts_in(shape: PackShape, example: Example) -> list[int] | None:
    """Returns the places of a conversation in a pack, as ``PlannedPack.starts``; None if it does not hold it."""
    return PackFiller(shape).add(example.lengths, example.own_count)


def cut(example: Example, shape: PackShape) -> Iterator[tuple[range, list[int]]]:
    """Yields the turns of a conversation in runs, each as long as a pack holds, and where the pack holds them.

    The places are as in ``PlannedPack.starts``. They must be kept: turns that fit one by one may not all fit where
    they are placed the longest first, as those of a whole conversation are.

    Raises:
        ValueError: A sequence is longer than every row.
    """
    begin, lengths = 0, example.lengths
    while begin < len(lengths):
        filler, starts = PackFiller(shape), []
        for length in itertools.islice(lengths, begin, None):
            if (placed := filler.add([length])) is None:
                break
            starts += placed
        if not starts:
            raise ValueError(f"expected sequences that fit into {shape}, found one of {lengths[begin]} tokens")
        yield range(begin, begin + len(starts)), starts
        begin += len(starts)


def part_of(example: Example, turns: range) -> Example:
    """Returns a run of turns of a conversation; their sequences have the contexts that they have in the whole."""
    run = slice(turns.start, turns.stop)
    return dataclasses.replace(
        example,
        sequences=example.sequences[run],
        speakers=example.speakers[run],
        labels=example.labels[run],
        values=example.values[run],
        features={name: matrix[run] for name, matrix in example.features.items()},
    )


def grown(shape: PackShape, example: Example) -> PackShape:
    """Returns the shape with the smallest power of two times the rows and slots that holds a conversation.

    Raises:
        ValueError: A sequence is longer than every row.
    """
    list(cut(example, shape))
    factor = 1
    while True:
        candidate = dataclasses.replace(
            shape,
            rows=tuple((length, count * factor) for length, count in shape.rows),
            utterances=shape.utterances * factor,
        )
        if starts_in(candidate, example) is not None:
            return candidate
        factor *= 2
