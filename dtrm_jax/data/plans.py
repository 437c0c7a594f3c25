"""Plans: the shape of a split's packs and the conversations of every pack, made together."""

import dataclasses
from collections.abc import Iterable, Sequence

import grain
import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing.plan import PlannedPack, epoch_order, largest_first, plan_packs
from dtrm_jax.data.packing.shape import aligned, choose_shape

Steps = list[list[PlannedPack]]


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """Which conversations every pack of every step holds, over all epochs.

    Attributes:
        shape: Shape of every pack.
        steps: For each step, ``Q`` packs; empty packs fill up the last step of an epoch.
        epoch_ends: For each epoch, the number of steps done when it ends.
    """

    shape: PackShape
    steps: Steps
    epoch_ends: list[int]

    @property
    def packs(self) -> int:
        """Packs over all epochs, which includes those that only fill up a step."""
        return sum(len(step) for step in self.steps)


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """Packs that hold every conversation of a split once.

    Attributes:
        shape: Shape of every pack.
        packs: The packs.
    """

    shape: PackShape
    packs: list[PlannedPack]


def plan_training(examples: Sequence[Example], config: Config) -> TrainPlan:
    """Chooses the shape of packs for the training split and plans all epochs.

    Args:
        examples: The training split.
        config: Budgets, packs per step, epochs and seed.
    """
    shape, train = pack_shape(examples, config), config.train
    lengths = [example.lengths for example in examples]
    steps, epoch_ends = plan_epochs(
        lengths, shape, packs_per_step=config.packing.packs_per_step, epochs=train.epochs, seed=train.seed
    )
    packs = (pack for step in steps for pack in step)
    return TrainPlan(_with_own_tokens(shape, packs, examples), steps, epoch_ends)


def plan_evaluation(examples: Sequence[Example], config: Config) -> EvaluationPlan:
    """Chooses the shape of packs for a split and plans them, the largest conversations first.

    Args:
        examples: The split.
        config: Budgets.
    """
    shape, lengths = pack_shape(examples, config), [example.lengths for example in examples]
    packs = plan_packs(lengths, largest_first(lengths), shape)
    return EvaluationPlan(_with_own_tokens(shape, packs, examples), packs)


def plan_epochs(
    lengths: Sequence[Sequence[int]], shape: PackShape, *, packs_per_step: int, epochs: int, seed: int
) -> tuple[Steps, list[int]]:
    """Plans all epochs: each has a new random packing, and its packs are in random order.

    Args:
        lengths: For every conversation, the tokens of each of its sequences.
        shape: Shape of every pack.
        packs_per_step: Q.
        epochs: Number of epochs.
        seed: Of the order.

    Returns:
        The steps and the epochs' ends, as in ``TrainPlan``.
    """
    steps: Steps = []
    epoch_ends = []
    for epoch in range(epochs):
        packs = plan_packs(lengths, epoch_order(lengths, seed, epoch), shape)
        order = list(grain.MapDataset.range(len(packs)).shuffle(seed=_epoch_seed(seed, epoch)))
        packs = [packs[index] for index in order]
        packs += [PlannedPack()] * (-len(packs) % packs_per_step)
        steps += [packs[start : start + packs_per_step] for start in range(0, len(packs), packs_per_step)]
        epoch_ends.append(len(steps))
    return steps, epoch_ends


def pack_shape(examples: Sequence[Example], config: Config) -> PackShape:
    """Chooses a shape that holds every conversation, with its values and features, without a bound on own tokens."""
    shape = choose_shape(
        [example.lengths for example in examples], config.packing, multiple=config.model.encoder.chunks
    )
    first = examples[0]
    features = tuple((name, matrix.shape[1]) for name, matrix in first.features.items())
    return dataclasses.replace(shape, values=first.values.shape[1], features=features)


def _with_own_tokens(shape: PackShape, packs: Iterable[PlannedPack], examples: Sequence[Example]) -> PackShape:
    """Returns the shape with the smallest bound on own tokens that holds for all packs of a plan."""
    own = [example.own_count for example in examples]
    needed = max((sum(own[index] for index in pack.members) for pack in packs), default=0)
    return dataclasses.replace(shape, own_tokens=min(aligned(needed), shape.tokens))


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, 1)).generate_state(1)[0])
