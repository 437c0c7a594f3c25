"""Attention masks as pure functions; True where a query (row) may see a key (column)."""

from jaxtyping import Bool, Int

from dtrm_jax.batch import Array


def sequence_mask(ids: Int[Array, "... S"]) -> Bool[Array, "... S S"]:
    """Block mask: a token sees the tokens of its own sequence, in both directions.

    Example: ``ids = [0, 0, 1, -1]`` gives

        1 1 0 0
        1 1 0 0
        0 0 1 0
        0 0 0 1

    Unused slots (-1) see each other, which keeps their softmax finite; nothing reads them.
    """
    return ids[..., :, None] == ids[..., None, :]


def reach_mask(positions: Int[Array, "... S"], reach: int) -> Bool[Array, "... S S"]:
    """Local attention: a token sees the tokens at most ``reach`` positions away, in both directions.

    Example: ``positions = [0, 1, 2, 3]``, reach 1:

        1 1 0 0
        1 1 1 0
        0 1 1 1
        0 0 1 1
    """
    return abs(positions[..., :, None] - positions[..., None, :]) <= reach


def context_dependent_mask(
    conversation_q: Int[Array, "... Xq"],
    turn_q: Int[Array, "... Xq"],
    conversation_k: Int[Array, "... Xk"],
    turn_k: Int[Array, "... Xk"],
    window: int,
    future: int = 0,
) -> Bool[Array, "... Xq Xk"]:
    """Eq. 3: a turn sees itself and the ``window`` turns before it in its own conversation.

    It sees ``future`` turns after it besides, none in the paper.

    Example: two conversations of 4 and 2 turns side by side, window 2:

        1 0 0 0 0 0
        1 1 0 0 0 0
        1 1 1 0 0 0
        0 1 1 1 0 0
        0 0 0 0 1 0
        0 0 0 0 1 1

    The same with future 1:

        1 1 0 0 0 0
        1 1 1 0 0 0
        1 1 1 1 0 0
        0 1 1 1 0 0
        0 0 0 0 1 1
        0 0 0 0 1 1
    """
    distance = turn_q[..., :, None] - turn_k[..., None, :]
    same = conversation_q[..., :, None] == conversation_k[..., None, :]
    return same & (distance >= -future) & (distance <= window)
