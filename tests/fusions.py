"""A fusion on its own, as the tests of all of them run it: inputs, presence, and the layout of the turns.

Sizes are pairwise distinct, so that swapped axes fail.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from dtrm_jax.config import FusionConfig
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.models.dialogue_trm.fusions.fusion import Fusion, Position
from tests.factories import random_params_like

WIDTH, HEADS, FEED_FORWARD, LAYERS, SKETCH, WINDOW = 8, 2, 11, 3, 13, 2
CONFIG = FusionConfig(layers=LAYERS, heads=HEADS, feed_forward=FEED_FORWARD, dropout=0.0, sketch=SKETCH, seed=5)
TRIPLE = ("utterance", "acoustic", "visual")
# Every kind, for what holds of all of them.
KINDS = tuple(FUSIONS)
SUBSETS = (TRIPLE[:2], TRIPLE[::2], TRIPLE[1:], TRIPLE)


def representations(names: Sequence[str], utterances: int) -> dict[str, np.ndarray]:
    """Returns random ones."""
    random = np.random.default_rng(0)
    return {name: random.normal(size=(utterances, WIDTH)).astype(np.float32) for name in names}


def everywhere(names: Sequence[str], utterances: int) -> dict[str, np.ndarray]:
    """Returns the presence of everything."""
    return {name: np.ones(utterances, bool) for name in names}


def side_by_side(turns: Sequence[int], unused: int = 0) -> Position:
    """Returns conversations of so many turns, then unused slots."""
    conversation = [*np.repeat(np.arange(len(turns)), turns), *[-1] * unused]
    turn = [*np.concatenate([np.arange(count) for count in turns]), *[0] * unused]
    return Position(np.array(conversation, np.int32), np.array(turn, np.int32))


def fusion(kind: str, dtype: DTypeLike = jnp.float32, remat: bool = False, future: int = 0, **changes: Any) -> Fusion:
    """Returns the module; ``changes`` are of ``CONFIG``."""
    return FUSIONS[kind](
        config=dataclasses.replace(CONFIG, **changes),
        window=WINDOW,
        dtype=dtype,
        remat=remat,
        future=future,
        name="fusion",
    )


def built(kind: str, r: Mapping, present: Mapping, position: Position | None = None, future: int = 0, **changes: Any):
    """Returns random parameters of the fusion and ``(params, r, present) -> output``, compiled.

    Without a position the turns are one conversation. ``changes`` are of ``CONFIG``.
    """
    position = position or side_by_side([len(next(iter(r.values())))])
    module = fusion(kind, future=future, **changes)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), r, present, position, True))
    params = random_params_like(shapes.get("params", {}))
    return params, jax.jit(lambda params, r, present: module.apply({"params": params}, r, present, position, True))


def count(params: Any) -> int:
    """Returns the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
