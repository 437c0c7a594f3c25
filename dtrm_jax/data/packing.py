"""Packing: whole conversations into fixed-shape packs, with hardly any padding.

Token sequences are short and uneven, so that padding them to the longest of a batch wastes two to three times the work.
Here many sequences share a row, and attention is masked to one sequence. Rows come in a few lengths: short ones keep
the attention's waste small, and one of the longest is always there for the longest sequence. The shape of a pack is
fixed per run, so that the train step compiles once.
"""

import bisect
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import PackingConfig
from dtrm_jax.data.features import present_rows
from dtrm_jax.data.tokenize import TokenSequence

_ALIGN = 16  # row lengths and utterance slots are multiples of it: whole vector registers
_SIZE_JITTER = 0.3  # standard deviation of the logarithm
_UTTERANCE_SLACK = 1.2  # utterance slots are cheap next to token slots
_ATTENTION_LENGTH = 200  # row length at which attention takes as long as all else; measured with MiniLM on a CPU


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A conversation as the packer takes it.

    Attributes:
        sequences: One a turn; empty if no text is encoded.
        labels: int32 ``[L]``; -1 where a turn has no class.
        values: float32 ``[L, V]``; NaN where a turn has no value.
        features: Modality -> float32 ``[L, M]``, standardised; rows of NaN where a turn lacks it.
    """

    sequences: tuple[TokenSequence, ...]
    labels: np.ndarray
    values: np.ndarray
    features: dict[str, np.ndarray]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each turn's sequence; zeros if no text is encoded."""
        return [len(sequence) for sequence in self.sequences] or [0] * len(self.labels)

    @property
    def own_tokens(self) -> int:
        """Tokens of segment 0, over all turns."""
        return sum(sequence.first_segment for sequence in self.sequences)


class PackFiller:
    """Places the sequences of one pack: best fit, each into the row with the least room that still holds it."""

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


def plan_packs(lengths: Sequence[Sequence[int]], order: Sequence[int], shape: PackShape) -> list[list[int]]:
    """Assigns conversations to packs, each to the first pack that holds it (first fit).

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        order: The order in which conversations are placed; every index of ``lengths`` to be packed, once.
        shape: Shape of every pack.

    Returns:
        Packs as lists of conversation indices.

    Raises:
        ValueError: A conversation does not fit into an empty pack.
    """
    packs: list[list[int]] = []
    fillers: list[PackFiller] = []
    smallest = min((sum(lengths[index]) for index in order), default=0)
    first_open = 0
    for index in order:
        for number in range(first_open, len(packs)):
            if fillers[number].add(lengths[index]) is not None:
                packs[number].append(index)
                break
        else:
            filler = PackFiller(shape)
            if filler.add(lengths[index]) is None:
                raise ValueError(f"conversation {index} with {sum(lengths[index])} tokens does not fit into {shape}")
            packs.append([index])
            fillers.append(filler)
        while first_open < len(packs) and fillers[first_open].tokens_left < smallest:
            first_open += 1
    return packs


def with_own_tokens(shape: PackShape, packs: Iterable[Sequence[int]], examples: Sequence[Example]) -> PackShape:
    """Returns the shape with just enough room for the own tokens of every pack of a plan.

    The last layer of an encoder that is read by its mean then finishes no other token.

    Args:
        shape: Shape of every pack.
        packs: Conversation indices of each pack.
        examples: The conversations.
    """
    own = [example.own_tokens for example in examples]
    needed = max((sum(own[index] for index in pack) for pack in packs), default=0)
    return dataclasses.replace(shape, own_tokens=min(_aligned(needed), shape.tokens))


def build_pack(conversations: Sequence[Example], shape: PackShape) -> Batch:
    """Lays conversations out in one pack of ``shape`` (no leading axis).

    Raises:
        ValueError: They do not fit; plan with ``plan_packs`` in the same order.
    """
    own_tokens = sum(conversation.own_tokens for conversation in conversations)
    if own_tokens > (shape.own_tokens or shape.tokens):
        raise ValueError(f"expected at most {shape.own_tokens} tokens in segment 0 of a pack, found {own_tokens}")
    pack = _empty_pack(shape)
    filler, slot = PackFiller(shape), 0
    for number, conversation in enumerate(conversations):
        starts = filler.add(conversation.lengths)
        if starts is None:
            raise ValueError(f"conversation {number} of the pack does not fit into what is left of {shape}")
        turns = slice(slot, slot + len(starts))
        pack.cls_U[turns], pack.turn_U[turns] = starts, np.arange(len(starts))
        pack.conversation_U[turns], pack.label_U[turns] = number, conversation.labels
        pack.value_UxV[turns] = np.nan_to_num(conversation.values)
        pack.value_weight_UxV[turns] = ~np.isnan(conversation.values)
        for name, matrix in conversation.features.items():
            pack.features_UxM[name][turns] = np.nan_to_num(matrix)
            pack.present_U[name][turns] = present_rows(matrix)
        for index, sequence in enumerate(conversation.sequences):
            start = starts[index]
            part = slice(start, start + len(sequence))
            pack.token_ids_T[part] = sequence.token_ids
            pack.position_ids_T[part] = np.arange(len(sequence))
            pack.segment_ids_T[start + sequence.first_segment : part.stop] = 1
            pack.sequence_ids_T[part] = slot + index
        slot = turns.stop
    annotated = pack.value_weight_UxV.any(axis=1) if shape.values else pack.label_U >= 0
    pack.weight_U[:] = annotated
    return pack


def _empty_pack(shape: PackShape) -> Batch:
    tokens, utterances = shape.tokens, shape.utterances
    return Batch(
        token_ids_T=np.zeros(tokens, np.int32),
        position_ids_T=np.zeros(tokens, np.int32),
        segment_ids_T=np.zeros(tokens, np.int32),
        sequence_ids_T=np.full(tokens, -1, np.int32),
        cls_U=np.zeros(utterances, np.int32),
        conversation_U=np.full(utterances, -1, np.int32),
        turn_U=np.zeros(utterances, np.int32),
        label_U=np.full(utterances, -1, np.int32),
        weight_U=np.zeros(utterances, np.float32),
        value_UxV=np.zeros((utterances, shape.values), np.float32),
        value_weight_UxV=np.zeros((utterances, shape.values), np.float32),
        features_UxM={name: np.zeros((utterances, size), np.float32) for name, size in shape.features},
        present_U={name: np.zeros(utterances, bool) for name, _ in shape.features},
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Fill:
    """How much of the work on a plan's packs is on real tokens.

    Attributes:
        tokens: Real tokens / token slots.
        attention: Score entries inside a sequence / score entries computed.
        work: Multiply-adds of the encoder on real tokens / those computed: matrix products with weights (12 D^2 a token
            and layer) and attention scores and values (2 S D a token and layer) together.
    """

    tokens: float
    attention: float
    work: float


def measure_fill(lengths: Sequence[Sequence[int]], packs: int, shape: PackShape, width: int) -> Fill:
    """Measures the fill of a plan.

    Args:
        lengths: The sequences' tokens, conversation by conversation, of all that was packed.
        packs: Packs in the plan.
        shape: Their shape.
        width: D of the encoder.
    """
    used = np.asarray([length for conversation in lengths for length in conversation], np.float64)
    slots = packs * sum(length * count for length, count in shape.rows)
    scores = packs * sum(length**2 * count for length, count in shape.rows)
    real, real_scores = used.sum(), (used**2).sum()
    work = (12 * width * real + 2 * real_scores) / (12 * width * slots + 2 * scores)
    return Fill(tokens=real / slots, attention=real_scores / scores, work=work)


def choose_shape(lengths: Sequence[Sequence[int]], config: PackingConfig, multiple: int = 1) -> PackShape:
    """Chooses how many rows of each length and how many utterance slots a pack has.

    A hill climb over the row counts: it starts from the share of tokens that each row length is the shortest home of,
    and exchanges rows as long as that lowers the cost of a whole planned epoch. A shape is considered only if every
    conversation fits into a pack of its own: nothing is ever cut or dropped, the budget grows instead.

    Args:
        lengths: For every conversation that must fit, the tokens of each of its sequences.
        config: Budgets and row lengths; a row length for the longest sequence is added, those beyond it are left out.
            Where no text is encoded, ``utterances`` alone is the budget.
        multiple: The number of rows of each length is a multiple of it.
    """
    longest = max(max(conversation) for conversation in lengths)
    if not longest:
        return PackShape((), _aligned(max(config.utterances, *map(len, lengths))))
    row_lengths = [length for length in config.row_lengths if length < longest]
    row_lengths.append(next((length for length in config.row_lengths if length >= longest), _aligned(longest)))
    budget = _budget(lengths, config)
    order = epoch_order(lengths, seed=0, epoch=0)
    largest_first = sorted(lengths, key=sum, reverse=True)
    counts = _first_counts(largest_first, row_lengths, budget)
    ceiling = max(1.1 * budget, np.dot(counts, row_lengths))
    best, step = _cost(counts, row_lengths, lengths, order), 4
    while step:
        improved = False
        for candidate in _exchanges(counts, row_lengths, step):
            if 0.9 * budget <= np.dot(candidate, row_lengths) <= ceiling and _holds(
                candidate, row_lengths, largest_first
            ):
                cost = _cost(candidate, row_lengths, lengths, order)
                if cost < 0.999 * best:
                    best, counts, improved = cost, candidate, True
        step = step if improved else step // 2
    rows = _rows([_aligned(count, multiple) for count in counts], row_lengths)
    return PackShape(rows, _utterance_slots(lengths, rows, order))


def epoch_order(lengths: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Returns the random order in which an epoch's conversations are packed: roughly the largest first.

    Large items first is what lets first fit fill packs well; the jitter of about a third in size keeps the company that
    conversations are in random from epoch to epoch.
    """
    generator = np.random.default_rng((seed, epoch))
    # Without text, the turns are what takes room.
    sizes = np.asarray([sum(conversation) or len(conversation) for conversation in lengths], np.float64)
    keys = sizes * np.exp(_SIZE_JITTER * generator.standard_normal(len(sizes)))
    return np.argsort(-keys, kind="stable").tolist()


def _budget(lengths: Sequence[Sequence[int]], config: PackingConfig) -> float:
    """Token slots of a pack: as many as are allowed, for no more utterances than are allowed."""
    sizes = [sum(conversation) for conversation in lengths]
    each = sum(sizes) / sum(map(len, lengths))
    return max(min(config.tokens, config.utterances * each), *sizes)


def _first_counts(largest_first: Sequence[Sequence[int]], row_lengths: list[int], budget: float) -> list[int]:
    """Rows in proportion to the tokens whose shortest home they are, then long rows until every conversation fits."""
    flat = np.asarray([length for conversation in largest_first for length in conversation])
    demand = np.bincount(np.searchsorted(row_lengths, flat), weights=flat, minlength=len(row_lengths))
    counts = [
        max(1, round(budget * share / length)) for share, length in zip(demand / demand.sum(), row_lengths, strict=True)
    ]
    while not _holds(counts, row_lengths, largest_first):
        counts[-1] += 1
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


def _holds(counts: list[int], row_lengths: list[int], largest_first: Sequence[Sequence[int]]) -> bool:
    """Whether every conversation fits into an empty pack; with the largest first, a no comes early."""
    rows = _rows(counts, row_lengths)
    return all(PackFiller(PackShape(rows, len(sizes))).add(sizes) is not None for sizes in largest_first)


def _cost(counts: list[int], row_lengths: list[int], lengths: Sequence[Sequence[int]], order: Sequence[int]) -> float:
    """Relative time of an epoch: packs needed times the time of one."""
    rows = _rows(counts, row_lengths)
    unlimited = PackShape(rows, sum(len(conversation) for conversation in lengths))
    packs = len(plan_packs(lengths, order, unlimited))
    return packs * sum(length * count * (1 + length / _ATTENTION_LENGTH) for length, count in rows)


def _utterance_slots(lengths: Sequence[Sequence[int]], rows: tuple[tuple[int, int], ...], order: Sequence[int]) -> int:
    """A little more than a planned epoch's packs use on average, so that slots are seldom what closes a pack."""
    turns = [len(conversation) for conversation in lengths]
    packs = plan_packs(lengths, order, PackShape(rows, sum(turns)))
    return _aligned(max(math.ceil(_UTTERANCE_SLACK * sum(turns) / len(packs)), max(turns)))


def _aligned(size: int, multiple: int = _ALIGN) -> int:
    return -(-size // multiple) * multiple
