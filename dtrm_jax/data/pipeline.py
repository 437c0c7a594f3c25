"""The input pipeline: plans, packs, shards by host, prefetches (Grain).

Every step's packs follow from (seed, epoch) alone, so that any step can be addressed at random: the position in the
data is one number, Grain's iterator state holds it, and every host can work out its own share.
"""

import dataclasses
from collections.abc import Sequence

import grain
import jax
import numpy as np

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.data.packing import Example, build_pack, epoch_order, plan_packs


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """Which conversations every pack of every step holds, over all epochs.

    Attributes:
        steps: For each step, ``N`` packs as lists of conversation indices; empty packs fill up an epoch's last step.
        epoch_ends: For each epoch, the number of steps done when it ends.
    """

    steps: list[list[list[int]]]
    epoch_ends: list[int]

    @property
    def packs(self) -> int:
        """Packs over all epochs, those that only fill up a step included."""
        return sum(len(step) for step in self.steps)


def plan_training(
    lengths: Sequence[Sequence[int]], shape: PackShape, packs_per_step: int, epochs: int, seed: int
) -> TrainPlan:
    """Plans all epochs: a new random packing for each, its packs in random order.

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        shape: Shape of every pack.
        packs_per_step: N.
        epochs: Number of epochs.
        seed: Of the order.
    """
    steps, epoch_ends = [], []
    for epoch in range(epochs):
        packs = plan_packs(lengths, epoch_order(lengths, seed, epoch), shape)
        order = list(grain.MapDataset.range(len(packs)).shuffle(seed=_epoch_seed(seed, epoch)))
        packs = [packs[index] for index in order]
        packs += [[]] * (-len(packs) % packs_per_step)
        steps += [packs[start : start + packs_per_step] for start in range(0, len(packs), packs_per_step)]
        epoch_ends.append(len(steps))
    return TrainPlan(steps, epoch_ends)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, 1)).generate_state(1)[0])


class _PackSource:
    """Random access to one host's packs of every step, as Grain wants it."""

    def __init__(
        self,
        conversations: Sequence[Example],
        steps: list[list[list[int]]],
        shape: PackShape,
        hosts: slice,
    ):
        self._conversations, self._steps, self._shape, self._hosts = conversations, steps, shape, hosts

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, step: int) -> Batch:
        packs = self._steps[step][self._hosts]
        built = [build_pack([self._conversations[index] for index in pack], self._shape) for pack in packs]
        return jax.tree.map(lambda *arrays: np.stack(arrays), *built)


def batches(
    conversations: Sequence[Example],
    steps: list[list[list[int]]],
    shape: PackShape,
    *,
    host: int,
    hosts: int,
    prefetch: int,
) -> grain.DatasetIterator:
    """Returns a checkpointable iterator over the steps' batches, each ``Batch`` with a leading axis of packs.

    Args:
        conversations: What the plan's indices point to.
        steps: The plan; every step has the same number of packs.
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
    source = _PackSource(conversations, steps, shape, slice(host * share, (host + 1) * share))
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    return iter(grain.MapDataset.source(source).to_iter_dataset(options))
