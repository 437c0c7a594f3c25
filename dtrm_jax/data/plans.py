"""Plans: the shape of a split's packs and the conversations of every pack, made together."""

import dataclasses
from collections.abc import Iterable, Sequence

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing.epochs import EpochPlanner, EpochSteps, first_epoch
from dtrm_jax.data.packing.plan import PlannedPack, largest_first, plan_packs
from dtrm_jax.data.packing.shape import aligned, choose_shape


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """Which conversations every pack of every step holds, over all epochs.

    Attributes:
        shape: Shape of every pack.
        steps: For each step, ``Q`` packs. They are planned an epoch ahead.
        packs_per_step: Q.
    """

    shape: PackShape
    steps: EpochSteps
    packs_per_step: int

    @property
    def epoch_ends(self) -> range:
        """For each epoch, the number of steps done when it ends."""
        return self.steps.epoch_ends

    @property
    def packs_per_epoch(self) -> int:
        """Packs of every epoch."""
        return self.epoch_ends[0] * self.packs_per_step


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
    """Chooses the shape of packs for the training split, and with the first epoch how many of them an epoch takes.

    The first epoch also bounds the own tokens of a pack, for all epochs.

    Args:
        examples: The training split.
        config: Budgets, packs per step, epochs and seed.
    """
    shape, seed, lengths = pack_shape(examples, config), config.train.seed, [example.lengths for example in examples]
    first = first_epoch(lengths, shape, seed, config.packing.conversations)
    shape = _with_own_tokens(shape, first, examples)
    planner = EpochPlanner(
        lengths=lengths,
        own_counts=[example.own_count for example in examples],
        shape=shape,
        first=first,
        packs_per_step=config.packing.packs_per_step,
        conversations=config.packing.conversations,
        seed=seed,
    )
    return TrainPlan(shape, EpochSteps(planner, config.train.epochs), config.packing.packs_per_step)


def plan_evaluation(examples: Sequence[Example], config: Config) -> EvaluationPlan:
    """Chooses the shape of packs for a split and plans them, the largest conversations first.

    Args:
        examples: The split.
        config: Budgets.
    """
    shape, lengths = pack_shape(examples, config), [example.lengths for example in examples]
    packs = plan_packs(lengths, largest_first(lengths), shape)
    return EvaluationPlan(_with_own_tokens(shape, packs, examples), packs)


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
