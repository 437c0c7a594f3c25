"""Relative position biases: the distance between two tokens adds a bias to the score of attention."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.attention import Rows, in_rows


def bucket_bias(
    table: Callable[[Array], Array], position_ids_T: Int[Array, " T"], rows: Rows, buckets: int
) -> tuple[Float[Array, "R H S S"], ...]:
    """Returns, for each row length, the bias of every pair of slots in a row.

    Args:
        table: Maps buckets ``[...]`` to biases ``[..., H]``.
        position_ids_T: Position of each token in its own sequence. Pairs of different sequences get some bias too,
            which the mask of attention makes irrelevant.
        rows: ``PackShape.rows``.
        buckets: Rows of the table.
    """
    result = []
    for position_RxS in in_rows(position_ids_T, rows):
        distance_RxSxS = position_RxS[:, None, :] - position_RxS[:, :, None]
        result.append(jnp.moveaxis(table(distance_bucket(distance_RxSxS, buckets)), -1, 1))
    return tuple(result)


def distance_bucket(distance: Int[Array, "..."], buckets: int, farthest: int = 128) -> Int[Array, "..."]:
    """Returns the bucket of a distance from query to key, as T5 and MPNet define it.

    Half of the buckets are for keys before the query and half for those after it. Half of each is for exact distances,
    the rest grows logarithmically up to ``farthest``; greater distances fall into the last bucket.

    Args:
        distance: Position of the key minus position of the query.
        buckets: Their number.
        farthest: The distance from which on all fall into one bucket.
    """
    half = buckets // 2
    exact = half // 2
    away = jnp.abs(distance)
    growth = jnp.log(jnp.maximum(away, 1).astype(jnp.float32) / exact) / math.log(farthest / exact)
    logarithmic = exact + (growth * (half - exact)).astype(jnp.int32)
    return jnp.where(distance > 0, half, 0) + jnp.where(away < exact, away, jnp.minimum(logarithmic, half - 1))
