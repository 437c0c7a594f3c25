"""Packing: whole conversations into fixed-shape packs, with hardly any padding.

Token sequences are short and uneven, so that padding them to the longest of a batch wastes two to three times the work.
Here many sequences share a row, and attention is masked to one sequence. Rows come in a few lengths: short ones keep
the attention's waste small, and at least one is long enough for the longest sequence. The shape of a pack is fixed per
run, so that the train step compiles once.
"""

from dtrm_jax.data.packing.fill import measure_fill
from dtrm_jax.data.packing.pack import build_pack, build_planned
from dtrm_jax.data.packing.plan import PLANNER, PackFiller, PlannedPack, epoch_order, largest_first, plan_packs
from dtrm_jax.data.packing.shape import choose_shape

__all__ = [
    "PLANNER",
    "PackFiller",
    "PlannedPack",
    "build_pack",
    "build_planned",
    "choose_shape",
    "epoch_order",
    "largest_first",
    "measure_fill",
    "plan_packs",
]
