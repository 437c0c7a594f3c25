"""The shape of packs: how many rows of each length, how many utterance slots."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.config import PackingConfig
from dtrm_jax.data.packing.demand import Demand
from dtrm_jax.data.packing.plan import epoch_order, plan_packs

_ALIGN = 16  # row lengths and utterance slots are multiples of it: whole vector registers
_UTTERANCE_SLACK = 1.2  # utterance slots are cheap next to token slots
_ATTENTION_LENGTH = 200  # row length at which attention takes as long as all else; measured with MiniLM on a CPU
_SAMPLE = 512  # conversations that candidates are planned with


def choose_shape(lengths: Sequence[Sequence[int]], config: PackingConfig, multiple: int = 1) -> PackShape:
    """Chooses how many rows of each length and how many utterance slots a pack has.

    A hill climb over the row counts: it starts from the share of tokens that fit each row length and no shorter one,
    and exchanges rows as long as that lowers the cost of a planned epoch. Of many conversations, a random sample is
    planned, always the same, so that the time hardly grows with their number. A shape is considered only if every
    conversation fits into a pack of its own: nothing is ever cut or dropped, the budget grows instead.

    Args:
        lengths: For every conversation that must fit, the tokens of each of its sequences.
        config: Budgets and row lengths; a row length for the longest sequence is added, those beyond it are left out.
            If no text is encoded, ``utterances`` alone is the budget.
        multiple: The number of rows of each length is a multiple of it.
    """
    longest = max(max(conversation) for conversation in lengths)
    if not longest:
        return PackShape((), aligned(max(config.utterances, *map(len, lengths))))
    row_lengths = [length for length in config.row_lengths if length < longest]
    row_lengths.append(next((length for length in config.row_lengths if length >= longest), aligned(longest)))
    budget, chosen = _budget(lengths, config), _chosen(len(lengths))
    demand, sample = Demand(lengths, row_lengths, chosen), [lengths[index] for index in chosen]
    order = epoch_order(sample, seed=0, epoch=0)
    counts = _first_counts(demand, row_lengths, budget)
    ceiling = max(1.1 * budget, np.dot(counts, row_lengths))
    best, step = _cost(counts, row_lengths, sample, order), 4
    while step:
        improved = False
        for candidate in _exchanges(counts, row_lengths, step):
            slots = np.dot(candidate, row_lengths)
            if 0.9 * budget <= slots <= ceiling and demand.foremost_held(_rows(candidate, row_lengths)):
                cost = _cost(candidate, row_lengths, sample, order)
                if cost < 0.999 * best:
                    best, counts, improved = cost, candidate, True
        step = step if improved else step // 2
    rows = _rows(_grown([aligned(count, multiple) for count in counts], row_lengths, demand, multiple), row_lengths)
    return PackShape(rows, _utterance_slots(lengths, sample, rows, order))


def _chosen(conversations: int) -> list[int]:
    """Returns the indices of the sample: all, or as many as it takes at most."""
    if conversations <= _SAMPLE:
        return list(range(conversations))
    return sorted(np.random.default_rng(0).choice(conversations, _SAMPLE, replace=False).tolist())


def _budget(lengths: Sequence[Sequence[int]], config: PackingConfig) -> float:
    """Returns the token slots of a pack: as many as are allowed, for no more utterances than are allowed."""
    sizes = [sum(conversation) for conversation in lengths]
    each = sum(sizes) / sum(map(len, lengths))
    return max(min(config.tokens, config.utterances * each), *sizes)


def _first_counts(demand: Demand, row_lengths: list[int], budget: float) -> list[int]:
    """Rows in proportion to the tokens that fit no shorter row, then long rows until every conversation fits."""
    shares = demand.tokens_R / demand.tokens_R.sum()
    counts = [max(1, round(budget * share / length)) for share, length in zip(shares, row_lengths, strict=True)]
    return _grown(counts, row_lengths, demand)


def _grown(counts: list[int], row_lengths: list[int], demand: Demand, step: int = 1) -> list[int]:
    """Returns the counts with as many more of the longest rows as it takes for every conversation to fit."""
    counts = list(counts)
    while not demand.all_held(_rows(counts, row_lengths)):
        counts[-1] += step
    return counts


def _exchanges(counts: list[int], row_lengths: list[int], step: int) -> Iterator[list[int]]:
    """Yields the counts with ``step`` rows of one kind added, removed, or turned into another kind."""
    nothing = -1
    for source, target in itertools.permutations(range(nothing, len(counts)), 2):
        candidate = list(counts)
        if source != nothing:
            candidate[source] -= step
        if target != nothing:
            same_tokens = step * row_lengths[source] / row_lengths[target]
            candidate[target] += step if source == nothing else max(1, round(same_tokens))
        if min(candidate) >= 0 and sum(candidate):
            yield candidate


def _rows(counts: list[int], row_lengths: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple((length, count) for length, count in zip(row_lengths, counts, strict=True) if count)


def _cost(counts: list[int], row_lengths: list[int], sample: Sequence[Sequence[int]], order: Sequence[int]) -> float:
    """Returns the relative time of an epoch of the sample: the packs it needs times the time of one."""
    rows = _rows(counts, row_lengths)
    return _packs_needed(rows, sample, order) * relative_time(rows)


def relative_time(rows: Iterable[tuple[int, int]]) -> float:
    """Returns about how long a pack with these rows takes, in token slots of very short rows."""
    return sum(length * count * (1 + length / _ATTENTION_LENGTH) for length, count in rows)


def _packs_needed(rows: tuple[tuple[int, int], ...], sample: Sequence[Sequence[int]], order: Sequence[int]) -> int:
    """Returns the packs of an epoch of the sample, with utterance slots for any number of turns."""
    return len(plan_packs(sample, order, PackShape(rows, sum(map(len, sample)))))


def _utterance_slots(
    lengths: Sequence[Sequence[int]],
    sample: Sequence[Sequence[int]],
    rows: tuple[tuple[int, int], ...],
    order: Sequence[int],
) -> int:
    """Returns a little more than the packs of a planned epoch use on average, so that slots seldom close a pack."""
    mean = sum(map(len, sample)) / _packs_needed(rows, sample, order)
    return aligned(max(math.ceil(_UTTERANCE_SLACK * mean), *map(len, lengths)))


def aligned(size: int, multiple: int = _ALIGN) -> int:
    """Returns the next multiple."""
    return -(-size // multiple) * multiple
