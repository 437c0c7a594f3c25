"""Encodes a pack's rows part by part, for packs whose activations would not fit into memory at once."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.attention import Rows, in_rows


def in_chunks(
    encoder: nn.Module, tokens: tuple[Int[Array, " T"], ...], rows: Rows, chunks: int, deterministic: bool
) -> Float[Array, "T D"]:
    """Returns the last hidden states of all slots, as ``encoder`` does, with the activations of one chunk at a time.

    Attention never leaves a row, so that rows can be encoded apart. Every chunk has the same number of rows of each
    length. The backward pass computes a chunk's activations anew.

    Args:
        encoder: A module with the call of ``encoders.bert.Bert``.
        tokens: Its arguments: token, position, segment and sequence ids.
        rows: ``PackShape.rows``.
        chunks: Their number; divides the number of rows of every length.
        deterministic: No dropout.
    """
    chunk_rows = tuple((length, count // chunks) for length, count in rows)

    def encode(encoder: nn.Module, carry: None, chunk: tuple[Array, ...]) -> tuple[None, Array]:
        return carry, encoder(*chunk, chunk_rows, deterministic=deterministic)

    scan = nn.scan(
        nn.remat(encode, prevent_cse=False),  # a scan keeps the two computations apart already
        variable_broadcast="params",
        variable_axes={"intermediates": 0},
        split_rngs={"params": False, "dropout": True},
    )
    _, states = scan(encoder, None, tuple(_cut(x, rows, chunks) for x in tokens))
    return _joined(states, chunk_rows)


def _cut(x_T: Array, rows: Rows, chunks: int) -> Array:
    """Returns ``[chunks, T / chunks]``."""
    return jnp.concatenate([part.reshape(chunks, -1) for part in in_rows(x_T, rows)], axis=1)


def _joined(states: Array, chunk_rows: Rows) -> Array:
    """The inverse of ``_cut``, of ``[chunks, T / chunks, D]``."""
    parts = in_rows(jnp.moveaxis(states, 0, 1), chunk_rows)
    return jnp.concatenate([jnp.moveaxis(part, 2, 0).reshape(-1, states.shape[-1]) for part in parts])
