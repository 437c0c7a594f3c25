"""Which conversations share a pack, and where in it each of their sequences lies."""

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import PackShape

# The version of the planner: with another one, the same conversations, seed and epoch give other packs. Version 1
# offered every conversation to every pack before it.
PLANNER = 2

_BLOCK = 512  # conversations that are ordered together
_OPEN = 128  # packs that a conversation is offered to: more than a block fills
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

    def __init__(self, shape: PackShape, conversations: int = 0):
        """Starts an empty pack, for at most so many conversations; 0 sets no bound."""
        self.conversations_left = conversations or shape.utterances
        self.tokens_left = shape.tokens
        self.utterances_left = shape.utterances
        self.own_left = shape.own_tokens or shape.tokens
        # (free slots, first free token slot), sorted by free slots.
        self._rows: list[tuple[int, int]] = []
        start = 0
        for length, count in shape.rows:
            self._rows += [(length, start + row * length) for row in range(count)]
            start += length * count
        self._rows.sort()

    @property
    def room(self) -> tuple[int, int, int, int, int]:
        """What is left: tokens, utterances, own tokens, the token slots of the emptiest row, and conversations."""
        emptiest = self._rows[-1][0] if self._rows else 0
        return self.tokens_left, self.utterances_left, self.own_left, emptiest, self.conversations_left

    def add(self, lengths: Sequence[int], own: int = 0) -> list[int] | None:
        """Places all sequences of a conversation, or none.

        Args:
            lengths: Tokens of each sequence.
            own: The conversation's own tokens, which ``PackShape.own_tokens`` bounds.

        Returns:
            The first token slot of each sequence, or None if the pack does not hold them all.
        """
        tokens = sum(lengths)
        if len(lengths) > self.utterances_left or tokens > self.tokens_left or own > self.own_left:
            return None
        if not self.conversations_left:
            return None
        rows, starts = list(self._rows), [0] * len(lengths)
        for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
            length = lengths[index]
            if not length:
                break
            position = bisect.bisect_left(rows, (length, -1))
            if position == len(rows):
                return None
            free, start = rows.pop(position)
            starts[index] = start
            bisect.insort(rows, (free - length, start + length))
        self._rows = rows
        self.conversations_left -= 1
        self.utterances_left -= len(lengths)
        self.tokens_left -= tokens
        self.own_left -= own
        return starts


class _OpenPacks:
    """The packs that still take conversations, the oldest first; when there are too many, the fullest is closed."""

    def __init__(self, shape: PackShape, conversations: int):
        self._shape, self._conversations = shape, conversations
        self._fullness = 4 if conversations else 0 if shape.tokens else 1
        self._packs: list[tuple[int, PackFiller]] = []  # (number, filler)
        self._room_OxX = np.zeros((_OPEN, 5), np.int64)  # ``PackFiller.room`` of each
        self.opened = 0

    def add(self, lengths: Sequence[int], own: int, needs_X: np.ndarray) -> tuple[int, list[int]] | None:
        """Places a conversation in the first pack that holds it.

        Args:
            lengths: Tokens of each sequence.
            own: The conversation's own tokens.
            needs_X: What of ``PackFiller.room`` it needs at least.

        Returns:
            The number of the pack and the first token slot of each sequence, or None if no pack can hold it.
        """
        enough_O = (self._room_OxX[: len(self._packs)] >= needs_X).all(axis=1)
        for place in np.flatnonzero(enough_O).tolist():
            number, filler = self._packs[place]
            if (starts := filler.add(lengths, own)) is not None:
                break
        else:
            number, filler = self.opened, PackFiller(self._shape, self._conversations)
            if (starts := filler.add(lengths, own)) is None:
                return None
            if len(self._packs) == _OPEN:
                self._close_fullest()
            place = len(self._packs)
            self._packs.append((number, filler))
            self.opened += 1
        self._room_OxX[place] = filler.room
        return number, starts

    def _close_fullest(self) -> None:
        place = int(self._room_OxX[:, self._fullness].argmin())
        del self._packs[place]
        self._room_OxX[place:-1] = self._room_OxX[place + 1 :]


def plan_packs(
    lengths: Sequence[Sequence[int]],
    order: Sequence[int],
    shape: PackShape,
    own_counts: Sequence[int] | None = None,
    conversations: int = 0,
) -> list[PlannedPack]:
    """Assigns conversations to packs, each to the first open pack that holds it (first fit).

    Only so many packs are open at a time, so that the time grows with the number of conversations and not with its
    square. With an order in blocks, as ``epoch_order`` and ``largest_first`` give, the packs are as full as if all
    stayed open.

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        order: The order in which conversations are placed; every index of ``lengths`` to be packed, once.
        shape: Shape of every pack.
        own_counts: Every conversation's own tokens, for a shape that bounds them.
        conversations: The most of a pack; 0 sets no bound.

    Raises:
        ValueError: A conversation does not fit into an empty pack.
    """
    open_packs, packs = _OpenPacks(shape, conversations), []
    for index in order:
        sequences, own = lengths[index], own_counts[index] if own_counts is not None else 0
        needs_X = np.array((sum(sequences), len(sequences), own, max(sequences), 1))
        placed = open_packs.add(sequences, own, needs_X)
        if placed is None:
            raise ValueError(f"conversation {index} with {sum(sequences)} tokens does not fit into {shape}")
        number, starts = placed
        if number == len(packs):
            packs.append([])
        packs[number].append((index, tuple(starts)))
    return [PlannedPack(*zip(*placed, strict=True)) for placed in packs]


def epoch_order(lengths: Sequence[Sequence[int]], seed: int, epoch: int, draw: int = 0) -> list[int]:
    """Returns the random order in which an epoch's conversations are packed: block by block, roughly the largest first.

    First fit fills packs well if large items come first; about 30 % size jitter varies which conversations share a pack
    from epoch to epoch. A block is a random part of the conversations: its small ones fill what its large ones left
    while those packs are still open.

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        seed: Of the order.
        epoch: From 0.
        draw: The number of the attempt, from 0. Each halves the jitter: the closer to the largest first, the fuller the
            packs.
    """
    generator = np.random.default_rng((seed, epoch, draw) if draw else (seed, epoch))
    jitter_J = _SIZE_JITTER / 2**draw * generator.standard_normal(len(lengths))
    blocks = _blocks(len(lengths))
    block_J = generator.permutation(len(lengths)) % blocks if blocks > 1 else np.zeros(len(lengths), np.int64)
    return np.lexsort((-_sizes(lengths) * np.exp(jitter_J), block_J)).tolist()


def largest_first(lengths: Sequence[Sequence[int]]) -> list[int]:
    """Returns the order in which a split is packed for evaluation: block by block, by tokens, then by turns.

    The sorted conversations are dealt out to the blocks, so that every block is like the whole.
    """
    descending = sorted(range(len(lengths)), key=lambda index: (-sum(lengths[index]), -len(lengths[index])))
    blocks = _blocks(len(lengths))
    return [index for block in range(blocks) for index in descending[block::blocks]]


def _blocks(conversations: int) -> int:
    return max(1, -(-conversations // _BLOCK))


def _sizes(lengths: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns float64 ``[J]``: the tokens of every conversation. Without text, it is the turns that take room."""
    return np.asarray([sum(conversation) or len(conversation) for conversation in lengths], np.float64)
