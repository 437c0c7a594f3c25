"""The steps of a training, planned an epoch ahead.

Every epoch takes the same number of packs, so that the number of steps, on which the learning rates depend, is known
once the first epoch is planned. Epochs differ by hardly a pack: one that would need more is drawn again, and one that
would need fewer has some of its packs split in two.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Sequence

import grain
import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing.plan import PlannedPack, epoch_order, plan_packs

Step = list[PlannedPack]

_SLACK = 1000  # of so many packs, one more than in the first epoch is allowed, so that hardly any epoch is drawn again
_DRAWS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochPlanner:
    """Plans any epoch of a training, from the seed and the number of the epoch alone.

    Attributes:
        lengths: For every conversation, the tokens of each of its sequences.
        own_counts: Every conversation's own tokens.
        shape: Shape of every pack.
        first: The packs of the first epoch, before they are put in order: ``first_epoch``.
        packs_per_step: Q.
        conversations: The most of a pack; 0 for any number of them.
        seed: Of the order.
    """

    lengths: Sequence[Sequence[int]]
    own_counts: Sequence[int]
    shape: PackShape
    first: Sequence[PlannedPack]
    packs_per_step: int
    conversations: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of every epoch."""
        most = min(len(self.first) + len(self.first) // _SLACK, len(self.lengths))
        return -(-most // self.packs_per_step)

    def plan(self, epoch: int) -> list[Step]:
        """Returns the steps of an epoch, from 0: ``Q`` packs each, in random order.

        A step has at least one conversation. Packs are empty only where there are fewer conversations than packs.
        """
        wanted = self.steps * self.packs_per_step
        packs = _split(self._packs(epoch, wanted), wanted)
        order = list(grain.MapDataset.range(len(packs)).shuffle(seed=_shuffle_seed(self.seed, epoch)))
        packs = [packs[index] for index in order] + [PlannedPack()] * (wanted - len(packs))
        return [packs[start : start + self.packs_per_step] for start in range(0, wanted, self.packs_per_step)]

    def _packs(self, epoch: int, most: int) -> Sequence[PlannedPack]:
        """Returns the epoch's packs, at most so many; if no draw has as few, the first epoch's."""
        if epoch == 0:
            return self.first
        for draw in range(_DRAWS):
            order = epoch_order(self.lengths, self.seed, epoch, draw)
            packs = plan_packs(self.lengths, order, self.shape, self.own_counts, self.conversations)
            if len(packs) <= most:
                return packs
        return self.first


class EpochSteps(Sequence[Step]):
    """The steps of all epochs, each epoch planned when it is first asked for, and the one after it in the background.

    Two epochs are kept at a time.
    """

    def __init__(self, planner: EpochPlanner, epochs: int):
        self._planner, self._epochs, self._per_epoch = planner, epochs, planner.steps
        self._planned: dict[int, concurrent.futures.Future[list[Step]]] = {}
        self._lock = threading.Lock()
        self._background = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="plan")

    @property
    def epoch_ends(self) -> range:
        """For each epoch, the number of steps done when it ends."""
        return range(self._per_epoch, len(self) + 1, self._per_epoch)

    def __len__(self) -> int:
        return self._epochs * self._per_epoch

    def __getitem__(self, index):
        """Returns a step, or a list of steps."""
        if isinstance(index, slice):
            return [self[step] for step in range(*index.indices(len(self)))]
        step = range(len(self))[index]
        epoch, place = divmod(step, self._per_epoch)
        return self._epoch(epoch)[place]

    def _epoch(self, epoch: int) -> list[Step]:
        with self._lock:
            wanted = range(epoch, min(epoch + 2, self._epochs))
            kept = {one: self._planned[one] for one in wanted if one in self._planned}
            self._planned = kept | {
                one: self._background.submit(self._planner.plan, one) for one in wanted if one not in kept
            }
            planned = self._planned[epoch]
        return planned.result()


def first_epoch(lengths: Sequence[Sequence[int]], shape: PackShape, seed: int, conversations: int) -> list[PlannedPack]:
    """Returns the packs of the first epoch, before they are put in order; how many they are is known from them."""
    return plan_packs(lengths, epoch_order(lengths, seed, epoch=0), shape, conversations=conversations)


def _split(packs: Sequence[PlannedPack], number: int) -> list[PlannedPack]:
    """Splits packs in two, those of the most conversations first, until there are so many or none can be split."""
    packs = list(packs)
    while len(packs) < number:
        order = sorted(range(len(packs)), key=lambda index: -len(packs[index].members))
        chosen = [index for index in order[: number - len(packs)] if len(packs[index].members) > 1]
        if not chosen:
            break
        for index in chosen:
            # Every other one, because they lie largest first.
            whole = packs[index]
            packs[index] = PlannedPack(whole.members[::2], whole.starts[::2])
            packs.append(PlannedPack(whole.members[1::2], whole.starts[1::2]))
    return packs


def _shuffle_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, 1)).generate_state(1)[0])
