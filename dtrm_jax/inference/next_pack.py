"""Which of the conversations that wait are predicted next, together, and in which of the few shapes."""

import bisect
from collections.abc import Sequence
from typing import NamedTuple

from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import Conversation
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing import PackFiller
from dtrm_jax.data.packing.shape import relative_time

_ABOUT_AS_GOOD = 0.95  # a larger pack is worth so much: fewer of them are begun


class Prepared(NamedTuple):
    """A conversation that waits to be predicted.

    Attributes:
        conversation: As the model reads it.
        example: The same, as packs take it.
        lengths: ``Example.lengths``.
        own: ``Example.own_count``.
        size: The tokens of all its sequences, or its turns if no text is encoded.
    """

    conversation: Conversation
    example: Example
    lengths: list[int]
    own: int
    size: int

    @classmethod
    def of(cls, conversation: Conversation, example: Example) -> "Prepared":
        """Returns a conversation and what follows from it."""
        lengths = example.lengths
        return cls(conversation, example, lengths, example.own_count, sum(lengths) or len(lengths))


class NextPack(NamedTuple):
    """What is predicted next.

    Attributes:
        members: Places of the conversations among those that wait, in the order in which they lie in the pack.
        shape: Of the pack; None for a single conversation that no shape holds.
        starts: As ``PlannedPack.starts``.
    """

    members: tuple[int, ...]
    shape: PackShape | None
    starts: tuple[tuple[int, ...], ...]


def next_pack(shapes: Sequence[PackShape], waiting: Sequence[Prepared]) -> NextPack:
    """Chooses the shape that does most work for its time, and the conversations that fill it.

    The first that waits is always one of them. The others are taken as they fit, the largest first.

    Args:
        shapes: The smallest first.
        waiting: At least one conversation.
    """
    others = sorted(range(1, len(waiting)), key=lambda place: -waiting[place].size)
    sizes = [-waiting[place].size for place in others]
    best, chosen = 0.0, NextPack((0,), None, ())
    for shape in shapes:
        if (pack := _filled(shape, waiting, others, sizes)) is None:
            continue
        work = sum(waiting[place].size for place in pack.members)
        worth = work / (relative_time(shape.rows) or shape.utterances)
        if worth >= _ABOUT_AS_GOOD * best:
            chosen = pack
        best = max(best, worth)
    return chosen


def _filled(
    shape: PackShape, waiting: Sequence[Prepared], others: Sequence[int], sizes: Sequence[int]
) -> NextPack | None:
    """Returns a pack of a shape with the first that waits and of the others what fits; None if it holds not even that.

    Args:
        shape: Of the pack.
        waiting: All that wait.
        others: Places of the others, the largest first.
        sizes: Of the others, negative, and so ascending.
    """
    filler, members, starts = PackFiller(shape), [0], []
    if (placed := filler.add(waiting[0].lengths, waiting[0].own)) is None:
        return None
    starts.append(tuple(placed))
    at = 0
    while True:
        room = filler.tokens_left if shape.rows else filler.utterances_left
        at = bisect.bisect_left(sizes, -room, at)  # the next that is no larger than what is left
        if at == len(others):
            return NextPack(tuple(members), shape, tuple(starts))
        one = waiting[others[at]]
        if (placed := filler.add(one.lengths, one.own)) is not None:
            members.append(others[at])
            starts.append(tuple(placed))
        at += 1
