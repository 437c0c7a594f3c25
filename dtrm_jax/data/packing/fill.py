"""How much of the work on packs is on real tokens."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import PackShape


@dataclasses.dataclass(frozen=True, slots=True)
class Fill:
    """How much of the work on a plan's packs is on real tokens.

    Attributes:
        tokens: Real tokens / token slots.
        work: Multiply-adds of the encoder on real tokens / those computed: matrix products with weights (12 D^2 per
            token and layer) and attention scores and values (2 S D per token and layer) together.
    """

    tokens: float
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
    real = used.sum()
    work = (12 * width * real + 2 * (used**2).sum()) / (12 * width * slots + 2 * scores)
    return Fill(tokens=real / slots, work=work)
