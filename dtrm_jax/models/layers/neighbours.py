"""Turns and the turns near them: the utterance axis cut into blocks that see the blocks beside them.

Whatever relates a turn to those at most ``past`` before and ``future`` after it costs time and memory linear in the
length of the axis: a block of ``A`` turns meets ``W`` turns, ``A``, ``2 A`` or ``3 A`` of them, and never all of U.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers import masks


@dataclasses.dataclass(frozen=True)
class Blocks:
    """How an axis of turns is cut; static.

    Attributes:
        utterances: U.
        count: B, blocks.
        size: A, turns of a block; the last block may be filled up.
        back: Whether a block meets the block before it.
        ahead: Whether a block meets the block after it.
    """

    utterances: int
    count: int
    size: int
    back: bool
    ahead: bool

    @classmethod
    def of(cls, utterances: int, past: int, future: int) -> "Blocks":
        """Returns the blocks in which every turn meets ``past`` turns before it and ``future`` after it.

        A short axis is one block.
        """
        size = _block_size(max(past, future))
        count = -(-utterances // size)
        if count <= 2:
            return cls(utterances, 1, utterances, back=False, ahead=False)
        return cls(utterances, count, size, back=True, ahead=future > 0)

    def own(self, x: Array, fill: int = 0) -> Array:
        """Returns ``[B, A, ...]`` of ``[U, ...]``: each block's own turns, ``fill`` where the last block has none."""
        missing = self.count * self.size - self.utterances
        padded = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
        return padded.reshape(self.count, self.size, *x.shape[1:])

    def near(self, x: Array, fill: int = 0) -> Array:
        """Returns ``[B, W, ...]`` of ``[U, ...]``: the turns that each block meets, in order."""
        own = self.own(x, fill)
        outside = jnp.full_like(own[:1], fill)
        before = [jnp.concatenate([outside, own[:-1]])] if self.back else []
        after = [jnp.concatenate([own[1:], outside])] if self.ahead else []
        return jnp.concatenate([*before, own, *after], axis=1)

    def joined(self, x: Array) -> Array:
        """Returns ``[U, ...]`` of ``[B, A, ...]``."""
        return x.reshape(-1, *x.shape[2:])[: self.utterances]


def _block_size(reach: int) -> int:
    """The smallest multiple of 8 that holds a reach: the neighbouring blocks are then enough."""
    return max(8, -(-reach // 8) * 8)


class Neighbours:
    """Edges to every turn from the turns in reach of it, in its own conversation; the turn itself is one of them.

    The turns of a conversation lie side by side, in order.

    Args:
        conversation_U: Conversation ids, -1 in unused slots.
        turn_U: Turn indices.
        past: How many turns before a turn are its neighbours.
        future: How many after it are.

    Attributes:
        blocks: How the axis is cut.
        edges_BxAxW: bool, whether the turn in reach is a neighbour. There is none in unused slots.
        distance_BxAxW: By how many turns the neighbour comes before the turn; negative if it comes after it.
    """

    def __init__(self, conversation_U: Int[Array, " U"], turn_U: Int[Array, " U"], past: int, future: int):
        self.blocks = Blocks.of(len(turn_U), past, future)
        conversation_BxA, turn_BxA = self.blocks.own(conversation_U, -1), self.blocks.own(turn_U)
        conversation_BxW, turn_BxW = self.blocks.near(conversation_U, -1), self.blocks.near(turn_U)
        in_reach = masks.context_dependent_mask(conversation_BxA, turn_BxA, conversation_BxW, turn_BxW, past, future)
        self.edges_BxAxW: Bool[Array, "B A W"] = in_reach & (conversation_BxA >= 0)[:, :, None]
        self.distance_BxAxW: Int[Array, "B A W"] = turn_BxA[:, :, None] - turn_BxW[:, None, :]

    def products(self, x_UxD: Float[Array, "U D"], y_UxD: Float[Array, "U D"]) -> Float[Array, "B A W"]:
        """Returns ``x_i . y_j`` of every turn i and turn j that its block meets, neighbour or not."""
        return jnp.einsum("bad,bwd->baw", self.blocks.own(x_UxD), self.blocks.near(y_UxD))

    def sums(self, weights_BxAxW: Float[Array, "B A W"], x_UxD: Float[Array, "U D"]) -> Float[Array, "U D"]:
        """Returns ``sum_j w_ij x_j``; weights must be 0 where there is no edge."""
        return self.blocks.joined(jnp.einsum("baw,bwd->bad", weights_BxAxW, self.blocks.near(x_UxD)))

    def softmax(self, scores_BxAxW: Float[Array, "B A W"]) -> Float[Array, "B A W"]:
        """Returns the softmax over each turn's neighbours; zeros elsewhere, and for a turn without any."""
        lowest = jnp.finfo(jnp.float32).min
        weights = jax.nn.softmax(jnp.where(self.edges_BxAxW, scores_BxAxW.astype(jnp.float32), lowest), axis=-1)
        return jnp.where(self.edges_BxAxW, weights, 0).astype(scores_BxAxW.dtype)
