"""First fit over all packs, as version 1 of the planner had it: what the planner's packs are measured against."""

from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import PackFiller

_SIZE_JITTER = 0.3  # standard deviation of the logarithm


def first_fit(lengths: Sequence[Sequence[int]], order: Sequence[int], shape: PackShape) -> list[list[int]]:
    """Returns the conversations of every pack; each conversation is offered to every pack that is not quite full."""
    packs: list[list[int]] = []
    fillers: list[PackFiller] = []
    smallest = min((sum(lengths[index]) for index in order), default=0)
    first_open = 0
    for index in order:
        for number in range(first_open, len(packs)):
            if fillers[number].add(lengths[index]) is not None:
                break
        else:
            number = len(packs)
            packs.append([])
            fillers.append(PackFiller(shape))
            if fillers[number].add(lengths[index]) is None:
                raise ValueError(f"conversation {index} does not fit into {shape}")
        packs[number].append(index)
        while first_open < len(packs) and fillers[first_open].tokens_left < smallest:
            first_open += 1
    return packs


def epoch_order(lengths: Sequence[Sequence[int]], seed: int, epoch: int) -> list[int]:
    """Returns the order in which version 1 packed an epoch: all conversations at once, roughly the largest first."""
    generator = np.random.default_rng((seed, epoch))
    sizes = np.asarray([sum(conversation) or len(conversation) for conversation in lengths], np.float64)
    keys = sizes * np.exp(_SIZE_JITTER * generator.standard_normal(len(sizes)))
    return np.argsort(-keys, kind="stable").tolist()
