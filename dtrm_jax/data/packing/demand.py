"""What conversations ask of the rows of a pack, so that many shapes can be checked quickly."""

from collections.abc import Iterable, Sequence

import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing.plan import PackFiller

_HARDEST = 512  # conversations with the most tokens
_HARDEST_OF_A_LENGTH = 64  # with the most sequences that need a row of at least one length

Rows = tuple[tuple[int, int], ...]


class Demand:
    """What every conversation asks of the rows of a pack.

    Whether best fit places a conversation in an empty pack can mostly be told without placing it. Only what cannot be
    told is tried.

    Attributes:
        tokens_R: float64 ``[R]``, for each row length the tokens of the sequences that fit it and no shorter one.
    """

    def __init__(self, lengths: Sequence[Sequence[int]], row_lengths: Sequence[int], sample: Sequence[int] = ()):
        """Counts.

        Args:
            lengths: For every conversation, the tokens of each of its sequences.
            row_lengths: All lengths that a row may have, increasing; the last holds the longest sequence.
            sample: Indices of the conversations that ``foremost_held`` asks for besides the hardest.
        """
        self._lengths = lengths
        flat_N = np.fromiter((length for one in lengths for length in one), np.int64)
        conversation_N = np.repeat(np.arange(len(lengths)), [len(one) for one in lengths])
        shortest_N = np.searchsorted(row_lengths, flat_N)  # the shortest row that holds it
        self._row_lengths, kinds = np.asarray(row_lengths), len(row_lengths)
        self.tokens_R = np.bincount(shortest_N, weights=flat_N, minlength=kinds)
        counts_JxR = np.bincount(conversation_N * kinds + shortest_N, minlength=len(lengths) * kinds)
        # How many sequences need a row of at least each length.
        self._needed_JxR = counts_JxR.reshape(-1, kinds)[:, ::-1].cumsum(axis=1)[:, ::-1]
        self._tokens_J = np.asarray([sum(one) for one in lengths], np.int64)
        self._longest_J = np.asarray([max(one) for one in lengths], np.int64)
        # The largest first: one that does not fit is then found early.
        self._all = np.argsort(-self._tokens_J, kind="stable")
        many = (np.argsort(-needed_J, kind="stable")[:_HARDEST_OF_A_LENGTH] for needed_J in self._needed_JxR.T)
        foremost = np.concatenate([self._all[:_HARDEST], *many, np.asarray(sample, np.int64)])
        self._foremost = self._all[np.isin(self._all, foremost)]

    def foremost_held(self, rows: Rows) -> bool:
        """Whether an empty pack with these rows holds each conversation of the sample and those that ask most of it."""
        return self._held(rows, self._foremost)

    def all_held(self, rows: Rows) -> bool:
        """Whether an empty pack with these rows holds each of all conversations."""
        return self._held(rows, self._all)

    def _held(self, rows: Rows, asked: np.ndarray) -> bool:
        doubtful = asked[~self._certain(rows, asked)]
        return _placed(rows, (self._lengths[index] for index in doubtful.tolist()))

    def _certain(self, rows: Rows, asked: np.ndarray) -> np.ndarray:
        """Tells, for each conversation that is asked for, whether best fit is bound to place all of its sequences."""
        # Either there are as many rows of every length and beyond as it has sequences that need them. Those before a
        # sequence are at least as long and took one such row each, so that one is still empty.
        lengths_X, counts_X = (np.asarray(values, np.int64) for values in zip(*rows, strict=True))
        given_R = ((lengths_X >= self._row_lengths[:, None]) * counts_X).sum(axis=1)
        rows_suffice = (self._needed_JxR[asked] <= given_R).all(axis=1)
        # Or it has so few tokens that not every row which could hold its longest sequence can be too full for it.
        longest = np.arange(self._longest_J.max() + 1)
        enough = (np.maximum(lengths_X - longest[:, None] + 1, 0) * counts_X).sum(axis=1)
        return rows_suffice | (self._tokens_J[asked] <= enough[self._longest_J[asked]])


def _placed(rows: Rows, conversations: Iterable[Sequence[int]]) -> bool:
    return all(PackFiller(PackShape(rows, len(sizes))).add(sizes) is not None for sizes in conversations)
