"""Scaled dot-product attention in the three arrangements the model needs, without parameters.

``attend`` is the core. ``row_attention`` lays the flat token axis out as rows, ``banded_attention`` the flat utterance
axis as blocks that see their neighbours, so that both cost grows linearly with the length of the axis. Axis letters
as in ``dtrm_jax.batch``; E is the width of a head, ``...`` any leading axes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers import masks
from dtrm_jax.models.layers.bfloat16 import bfloat16_product, runs_in_bfloat16
from dtrm_jax.models.layers.neighbours import Blocks

# ``PackShape.rows``.
Rows = tuple[tuple[int, int], ...]
# Maps attention weights to attention weights: dropout, or nothing.
Drop = Callable[[Float[Array, "..."]], Float[Array, "..."]]
# (queries [R, S, H, E], keys [R, S, H, E], positions [R, S]) -> what is added to the scores, [R, H, S, S].
RowBias = Callable[[Float[Array, "R S H E"], Float[Array, "R S H E"], Int[Array, "R S"]], Float[Array, "R H S S"]]


def in_rows(x_T: Float[Array, "T ..."] | Int[Array, "T ..."], rows: Rows) -> list[Array]:
    """Returns the slots of each row length of the flat token axis as rows, ``[R, S, ...]``."""
    cut, start = [], 0
    for length, count in rows:
        cut.append(x_T[start : start + length * count].reshape(count, length, *x_T.shape[1:]))
        start += length * count
    return cut


def attend(
    q: Float[Array, "... Xq H E"],
    k: Float[Array, "... Xk H E"],
    v: Float[Array, "... Xk H E"],
    mask: Bool[Array, "... Xq Xk"],
    drop: Drop | None,
    bias: Float[Array, "... H Xq Xk"] | None = None,
    products: str = "float32",
    scale: float | None = None,
) -> tuple[Float[Array, "... Xq H E"], Float[Array, "... H Xq Xk"]]:
    """``softmax(scale q k^T + bias) v`` over the keys that ``mask`` admits; softmax in float32.

    The two arrangements compute the same. Which is faster on a CPU was measured: heads first in inference and in
    bfloat16, in place in training in float32 where rows are short.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        mask: Which keys each query sees.
        drop: Applied to the weights. If None, there is no dropout.
        bias: Added to the scores.
        products: Input dtype of matrix products, "float32" (the dtype is left as it is) or "bfloat16".
        scale: Of the scores. If None, it is ``1 / sqrt(E)``.

    Returns:
        The attended values, and the weights before dropout for inspection.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    low = products == "bfloat16" and runs_in_bfloat16()
    if drop is None or low:
        return _attend_heads_first(q, k, v, mask, drop, bias, scale, low)
    return _attend_in_place(q, k, v, mask, drop, bias, scale)


def _attend_in_place(
    q: Array, k: Array, v: Array, mask: Array, drop: Drop, bias: Array | None, scale: float
) -> tuple[Array, Array]:
    """Products of strided matrices; hidden keys get the lowest score."""
    scores = jnp.einsum("...qhe,...she->...hqs", q * scale, k).astype(jnp.float32)
    if bias is not None:
        scores = scores + bias
    scores = jnp.where(mask[..., None, :, :], scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("...hqs,...she->...qhe", drop(weights), v), weights


def _attend_heads_first(
    q: Array, k: Array, v: Array, mask: Array, drop: Drop | None, bias: Array | None, scale: float, low: bool
) -> tuple[Array, Array]:
    """Products of contiguous matrices; the mask is added, so that XLA fuses it with the softmax.

    ``low`` takes the inputs of the products in bfloat16.
    """
    q, k, v = (jnp.swapaxes(x, -3, -2) for x in (q, k, v))
    if low:
        scores = bfloat16_product(q * scale, jnp.swapaxes(k, -2, -1))
    else:
        scores = jnp.einsum("...hqe,...hse->...hqs", q * scale, k).astype(jnp.float32)
    if bias is not None:
        scores = scores + bias
    scores = scores + jnp.where(mask[..., None, :, :], 0.0, jnp.finfo(jnp.float32).min / 2)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    kept = weights if drop is None else drop(weights)
    output = bfloat16_product(kept, v) if low else jnp.einsum("...hqs,...hse->...hqe", kept, v)
    return jnp.swapaxes(output, -3, -2).astype(v.dtype), weights


def row_attention(
    q_TxHxE: Float[Array, "T H E"],
    k_TxHxE: Float[Array, "T H E"],
    v_TxHxE: Float[Array, "T H E"],
    sequence_ids_T: Int[Array, " T"],
    rows: Rows,
    drop: Drop | None,
    products: str = "float32",
    *,
    position_ids_T: Int[Array, " T"] | None = None,
    bias: RowBias | None = None,
    biases: Sequence[Float[Array, "_ H _ _"]] | None = None,
    reach: int | None = None,
    scale: float | None = None,
) -> tuple[Float[Array, "T H E"], list[Float[Array, "R H S S"]]]:
    """Attention of packed token sequences: inside each row, tokens see the tokens of their own sequence.

    Args:
        q_TxHxE: Queries; keys and values likewise.
        k_TxHxE: Keys.
        v_TxHxE: Values.
        sequence_ids_T: Which sequence each token belongs to.
        rows: ``PackShape.rows``.
        drop: Applied to the attention weights. If None, there is no dropout.
        products: As in ``attend``.
        position_ids_T: Position of each token in its own sequence; needed for ``bias`` and ``reach``.
        bias: Computes a bias of the scores of rows from their queries, keys and positions. If None, there is none.
        biases: The same for each row length, ``[R, H, S, S]``, already computed. If None, there is none.
        reach: How many positions away a token sees, in both directions. If None, it sees its whole sequence.
        scale: As in ``attend``.

    Returns:
        The attended values, and each row length's weights.
    """
    outputs, weights = [], []
    cut = (in_rows(x_T, rows) for x_T in (q_TxHxE, k_TxHxE, v_TxHxE, sequence_ids_T))
    positions = None if position_ids_T is None else in_rows(position_ids_T, rows)
    for index, (q, k, v, sequence_ids_RxS) in enumerate(zip(*cut, strict=True)):
        mask = masks.sequence_mask(sequence_ids_RxS)
        added = None if biases is None else biases[index]
        if positions is not None:
            position_ids_RxS = positions[index]
            if reach is not None:
                mask &= masks.reach_mask(position_ids_RxS, reach)
            if bias is not None:
                added = bias(q, k, position_ids_RxS)
        output, row_weights = attend(q, k, v, mask, drop, added, products=products, scale=scale)
        outputs.append(output.reshape(-1, *q.shape[2:]))
        weights.append(row_weights)
    return jnp.concatenate(outputs), weights


def banded_attention(
    q_UxHxE: Float[Array, "U H E"],
    k_UxHxE: Float[Array, "U H E"],
    v_UxHxE: Float[Array, "U H E"],
    conversation_U: Int[Array, " U"],
    turn_U: Int[Array, " U"],
    window: int,
    drop: Drop,
    distance_bias_HxK1: Float[Array, "H K1"] | None = None,
    seen_U: Bool[Array, " U"] | None = None,
    future: int = 0,
) -> tuple[Float[Array, "U H E"], Float[Array, "B H A W"]]:
    """Context-dependent attention of eq. 3: each turn sees itself, ``window`` turns before and ``future`` after it.

    The axis is cut into blocks of ``A`` turns, at least ``window`` and ``future``; a block's queries see the keys of
    the block before, their own and, if there is a future, the one after, ``W = 2 A`` or ``3 A`` of them, so that cost
    and memory are linear in U. A short axis is one block.

    Args:
        q_UxHxE: Queries; keys and values likewise. The turns of a conversation lie side by side, in order.
        k_UxHxE: Keys.
        v_UxHxE: Values.
        conversation_U: Conversation ids, -1 in unused slots.
        turn_U: Turn indices.
        window: K.
        drop: Applied to the attention weights.
        distance_bias_HxK1: Added to the scores by distance ``i - j`` in turns, 0 to K and then, if there is a future,
            its distances -F to -1. If None, nothing is added.
        seen_U: Which turns may be seen. If None, all may. A turn that sees no turn gets zeros.
        future: F, how many later turns are seen.

    Returns:
        The attended values, and the weights by block.
    """
    blocks = Blocks.of(turn_U.shape[0], window, future)
    queries = Turns(blocks.own(q_UxHxE), blocks.own(conversation_U, -1), blocks.own(turn_U))
    keys = Turns(blocks.near(k_UxHxE), blocks.near(conversation_U, -1), blocks.near(turn_U))
    seen_k = None if seen_U is None else blocks.near(seen_U, False)
    output, weights = attend_turns(
        queries, keys, blocks.near(v_UxHxE), window, drop, distance_bias_HxK1, seen_k, future
    )
    return blocks.joined(output), weights


class Turns(NamedTuple):
    """Queries or keys of turns, and where the turns stand.

    Attributes:
        vectors: Queries or keys.
        conversation: Conversation ids.
        turn: Turn indices.
    """

    vectors: Float[Array, "... X H E"]
    conversation: Int[Array, "... X"]
    turn: Int[Array, "... X"]


def attend_turns(
    queries: Turns,
    keys: Turns,
    v: Float[Array, "... Xk H E"],
    window: int,
    drop: Drop,
    distance_bias_HxK1: Float[Array, "H K1"] | None,
    seen_k: Bool[Array, "... Xk"] | None,
    future: int,
) -> tuple[Float[Array, "... Xq H E"], Float[Array, "... H Xq Xk"]]:
    """Attention of eq. 3 between any turns: all pairs are scored. The arguments are those of ``banded_attention``."""
    _, conversation_q, turn_q = queries
    _, conversation_k, turn_k = keys
    mask = masks.context_dependent_mask(conversation_q, turn_q, conversation_k, turn_k, window, future)
    bias = None
    if distance_bias_HxK1 is not None:
        distance = jnp.clip(turn_q[..., :, None] - turn_k[..., None, :], -future, window)
        # Negative indices count from the end.
        bias = jnp.moveaxis(distance_bias_HxK1[:, distance], 0, -3)
    if seen_k is not None:
        mask &= seen_k[..., None, :]
    output, weights = attend(queries.vectors, keys.vectors, v, mask, drop, bias)
    if seen_k is not None:
        # A softmax over no visible key is uniform over the hidden ones.
        sees = mask.any(axis=-1)
        output = jnp.where(sees[..., :, None, None], output, 0)
        weights = jnp.where(sees[..., None, :, None], weights, 0)
    return output, weights
