"""Token sequences laid out in rows, several per row."""

import numpy as np


def sequences_of(lengths, vocabulary, seed=0):
    """Returns token ids and segments of each sequence; the second half of a sequence is segment 1.

    No sequence holds id 0, which is often padding: PyTorch's embedding gives that row no gradient.
    """
    random = np.random.default_rng(seed)
    return [(random.integers(1, vocabulary, n), (np.arange(n) >= (n + 1) // 2).astype(int)) for n in lengths]


def pack(sequences, layout):
    """Lays sequences out.

    Args:
        sequences: Token ids and segments of each.
        layout: For each row length: the length, and the sequences in each row of it.

    Returns:
        Token, position, segment and sequence ids on the flat token axis; the rows; the slots of each sequence.
    """
    rows = tuple((length, len(members)) for length, members in layout)
    slots = sum(length * count for length, count in rows)
    tokens, positions, segments, owners = (np.zeros(slots, np.int32) for _ in range(4))
    owners -= 1
    where, row_start = {}, 0
    for length, members_of_rows in layout:
        for members in members_of_rows:
            start = row_start
            for member in members:
                ids, types = sequences[member]
                part = slice(start, start + len(ids))
                assert part.stop <= row_start + length
                tokens[part], segments[part] = ids, types
                positions[part], owners[part] = np.arange(len(ids)), member
                where[member] = np.arange(part.start, part.stop)
                start = part.stop
            row_start += length
    return [tokens, positions, segments, owners], rows, where


def padded(sequences):
    """Returns token ids, segments and a mask over the padding: one row per sequence, as others lay them out."""
    shape = (len(sequences), max(len(ids) for ids, _ in sequences))
    tokens, segments, mask = (np.zeros(shape, int) for _ in range(3))
    for row, (ids, types) in enumerate(sequences):
        tokens[row, : len(ids)], segments[row, : len(ids)], mask[row, : len(ids)] = ids, types, 1
    return tokens, segments, mask
