"""Which conversations share a pack, and where in it each of their sequences lies."""

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import PackShape

_SIZE_JITTER = 0.3  # standard deviation of the logarithm


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedPack:
    """The conversations of a pack and their places.

    Attributes:
        members: Indices of the conversations, in the order in which they lie in the pack.
        starts: For each of them, the first token slot of each of its sequences.
    """

    members: tuple[int, ...] = ()
    starts: tuple[tuple[int, ...], ...] = ()


class PackFiller:
    """Places the sequences of one pack by best fit: each goes into the row with the least room that still holds it."""

    def __init__(self, shape: PackShape):
        self.utterances_left = shape.utterances
        self.tokens_left = shape.tokens
        # (free slots, first free token slot), sorted by free slots.
        self._rows: list[tuple[int, int]] = []
        start = 0
        for length, count in shape.rows:
            self._rows += [(length, start + row * length) for row in range(count)]
            start += length * count
        self._rows.sort()

    def add(self, lengths: Sequence[int]) -> list[int] | None:
        """Places all sequences of a conversation, or none.

        Args:
            lengths: Tokens of each sequence.

        Returns:
            The first token slot of each sequence, or None if the pack does not hold them all.
        """
        if len(lengths) > self.utterances_left or sum(lengths) > self.tokens_left:
            return None
        rows, starts = list(self._rows), [0] * len(lengths)
        for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            length = lengths[index]
            if not length:
                continue
            position = bisect.bisect_left(rows, (length, -1))
            if position == len(rows):
                return None
            free, start = rows.pop(position)
            starts[index] = start
            bisect.insort(rows, (free - length, start + length))
        self._rows = rows
        self.utterances_left -= len(lengths)
        self.tokens_left -= sum(lengths)
        return starts


def plan_packs(lengths: Sequence[Sequence[int]], order: Sequence[int], shape: PackShape) -> list[PlannedPack]:
    """Assigns conversations to packs, each to the first pack that holds it (first fit).

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        order: The order in which conversations are placed; every index of ``lengths`` to be packed, once.
        shape: Shape of every pack.

    Raises:
        ValueError: A conversation does not fit into an empty pack.
    """
    packs: list[list[tuple[int, tuple[int, ...]]]] = []
    fillers: list[PackFiller] = []
    smallest = min((sum(lengths[index]) for index in order), default=0)
    first_open = 0
    for index in order:
        for number in range(first_open, len(packs)):
            if (starts := fillers[number].add(lengths[index])) is not None:
                break
        else:
            number, filler = len(packs), PackFiller(shape)
            if (starts := filler.add(lengths[index])) is None:
                raise ValueError(f"conversation {index} with {sum(lengths[index])} tokens does not fit into {shape}")
            packs.append([])
            fillers.append(filler)
        packs[number].append((index, tuple(starts)))
        while first_open < len(packs) and fillers[first_open].tokens_left < smallest:
            first_open += 1
    return [PlannedPack(*zip(*placed, strict=True)) for placed in packs]


def epoch_order(lengths: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Returns the random order in which an epoch's conversations are packed: roughly the largest first.

    First fit fills packs well if large items come first; about 30 % size jitter varies which conversations share a pack
    from epoch to epoch.
    """
    generator = np.random.default_rng((seed, epoch))
    # Without text, it is the turns that take room.
    sizes = np.asarray([sum(conversation) or len(conversation) for conversation in lengths], np.float64)
    keys = sizes * np.exp(_SIZE_JITTER * generator.standard_normal(len(sizes)))
    return np.argsort(-keys, kind="stable").tolist()


def largest_first(lengths: Sequence[Sequence[int]]) -> list[int]:
    """Returns the order in which a split is packed for evaluation: by tokens, then by turns."""
    return sorted(range(len(lengths)), key=lambda index: (-sum(lengths[index]), -len(lengths[index])))
