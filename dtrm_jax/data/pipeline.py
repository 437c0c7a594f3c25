"""The input pipeline: builds the planned packs, shares them out to hosts, prefetches (Grain).

Every step's packs follow from (seed, epoch) alone, so that any step can be addressed at random: the position in the
data is one number, Grain's iterator state holds it, and every host can work out its own share.
"""

from collections.abc import Sequence

import grain
import jax
import numpy as np

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing.epochs import Step
from dtrm_jax.data.packing.pack import build_planned


class _PackSource:
    """Random access to one host's packs of every step, as Grain wants it."""

    def __init__(self, examples: Sequence[Example], steps: Sequence[Step], shape: PackShape, share: slice):
        self._examples, self._steps, self._shape, self._share = examples, steps, shape, share

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: int) -> Batch:
        built = [build_planned(self._examples, pack, self._shape) for pack in self._steps[step][self._share]]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *built)


def batches(
    examples: Sequence[Example],
    steps: Sequence[Step],
    shape: PackShape,
    *,
    host: int,
    hosts: int,
    prefetch: int,
) -> grain.DatasetIterator:
    """Returns a checkpointable iterator over the steps' batches, each ``Batch`` with a leading axis of packs.

    Args:
        examples: The conversations that the plan's indices point to.
        steps: Those of a plan; every step has the same number of packs.
        shape: Shape of every pack.
        host: This process's index.
        hosts: Number of processes; each receives a contiguous share of every step's packs.
        prefetch: Batches prepared ahead in a background thread.

    Raises:
        ValueError: The packs of a step cannot be shared equally among the hosts.
    """
    packs_per_step = len(steps[0])
    if packs_per_step % hosts:
        raise ValueError(f"expected packs per step divisible by {hosts} processes, found {packs_per_step}")
    share = packs_per_step // hosts
    source = _PackSource(examples, steps, shape, slice(host * share, (host + 1) * share))
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(source).to_iter_dataset(options))
