"""The pipeline: any step follows from (seed, epoch) alone, on every host, and after any interruption."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import build_planned
from dtrm_jax.data.packing.epochs import EpochPlanner, EpochSteps, first_epoch
from dtrm_jax.data.pipeline import batches
from dtrm_jax.data.plans import TrainPlan, plan_evaluation, plan_training
from tests.factories import random_examples, sized, stack, tiny_config

SHAPE = PackShape(((7, 3), (13, 2)), 11)
RANDOM = np.random.default_rng(0)
LENGTHS = [RANDOM.integers(2, 14, RANDOM.integers(1, 4)).tolist() for _ in range(31)]
CONVERSATIONS = [sized(*lengths, first_id=1000 * index + 1) for index, lengths in enumerate(LENGTHS)]


def plan(packs_per_step=3, epochs=4, seed=5):
    planner = EpochPlanner(
        lengths=LENGTHS,
        own_counts=[example.own_count for example in CONVERSATIONS],
        shape=SHAPE,
        first=first_epoch(LENGTHS, SHAPE, seed, 0),
        packs_per_step=packs_per_step,
        conversations=0,
        seed=seed,
    )
    return TrainPlan(SHAPE, EpochSteps(planner, epochs), packs_per_step)


def read(steps, host=0, hosts=1, prefetch=2):
    return batches(CONVERSATIONS, steps, SHAPE, host=host, hosts=hosts, prefetch=prefetch)


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_every_epoch_holds_every_conversation_once():
    planned = plan()
    assert planned.epoch_ends[-1] == len(planned.steps) and len(planned.epoch_ends) == 4
    for first, last in itertools.pairwise([0, *planned.epoch_ends]):
        packs = [pack for step in planned.steps[first:last] for pack in step]
        assert sorted(index for pack in packs for index in pack.members) == list(range(len(LENGTHS)))
    assert all(len(step) == 3 for step in planned.steps)
    assert planned.packs_per_epoch * 4 == 3 * len(planned.steps)


def test_a_plan_follows_from_seed_and_epoch_alone():
    steps = list(plan().steps)
    assert list(plan().steps) == steps
    assert list(plan(seed=6).steps) != steps
    assert list(plan(epochs=2).steps) == steps[: len(steps) // 2]


def test_epochs_differ_in_their_packs_and_in_the_packs_order():
    planned = plan(packs_per_step=1)
    ends = [0, *planned.epoch_ends]
    epochs = [planned.steps[first:last] for first, last in itertools.pairwise(ends)]
    companies = [frozenset(frozenset(pack.members) for [pack] in epoch) for epoch in epochs]
    assert len(set(companies)) == len(epochs)


def test_empty_packs_count_nothing():
    planned = plan(packs_per_step=len(CONVERSATIONS) + 3)
    fillers = 0
    for step, batch in zip(planned.steps, read(planned.steps), strict=True):
        for number, pack in enumerate(step):
            labelled = sum(len(LENGTHS[index]) for index in pack.members)
            assert batch.weight_U[number].sum() == labelled
            assert (batch.label_U[number] >= 0).sum() == labelled
            fillers += not pack.members
    assert fillers == 3 * 4


def test_batches_are_the_plans_packs_stacked():
    planned = plan()
    found = list(read(planned.steps))
    assert len(found) == len(planned.steps)
    for step, batch in zip(planned.steps, found, strict=True):
        assert_same(batch, stack([build_planned(CONVERSATIONS, pack, SHAPE) for pack in step]))
    assert found[0].token_ids_T.shape == (3, 47)
    assert found[0].weight_U.shape == (3, 11)


@pytest.mark.parametrize("prefetch", [1, 4])
@pytest.mark.parametrize("done", [0, 1, 7])
def test_an_iterator_resumes_where_its_state_was_taken(done, prefetch):
    planned = plan()
    expected = list(read(planned.steps))
    interrupted = read(planned.steps, prefetch=prefetch)
    for _ in range(done):
        next(interrupted)
    state = interrupted.get_state()
    next(interrupted)
    resumed = read(planned.steps, prefetch=prefetch)
    resumed.set_state(state)
    rest = list(resumed)
    assert len(rest) == len(expected) - done
    for found, batch in zip(rest, expected[done:], strict=True):
        assert_same(found, batch)


def test_any_step_can_be_addressed_without_those_before_it():
    planned = plan()
    expected = list(read(planned.steps))
    for step in (0, 4, len(expected) - 1):
        assert_same(next(read(planned.steps[step:])), expected[step])


@pytest.mark.parametrize("hosts", [1, 2, 3, 6])
def test_the_hosts_shares_are_the_whole(hosts):
    planned = plan(packs_per_step=6)
    shares = [read(planned.steps, host, hosts) for host in range(hosts)]
    for whole, *parts in zip(read(planned.steps), *shares, strict=True):
        assert all(part.weight_U.shape == (6 // hosts, 11) for part in parts)
        assert_same(jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts), whole)


def test_packs_that_cannot_be_shared_equally_are_an_error():
    with pytest.raises(ValueError, match="expected packs per step divisible by 2 processes, found 3"):
        read(plan().steps, host=0, hosts=2)


def planned_config():
    return tiny_config(packing__tokens=200, packing__row_lengths=(16, 29), packing__packs_per_step=2, train__epochs=2)


@pytest.mark.parametrize("bound", ["own tokens", "values and features"])
def test_a_plan_has_the_whole_shape_of_its_packs(bound):
    config, random = planned_config(), np.random.default_rng(0)
    examples = random_examples(1, [3, 9, 1, 5, 7, 2, 8, 4], config)
    if bound == "values and features":
        examples = [
            dataclasses.replace(
                example,
                values=random.normal(size=(len(example.labels), 3)).astype(np.float32),
                features={"visual": random.normal(size=(len(example.labels), 5)).astype(np.float32)},
            )
            for example in examples
        ]
    training, evaluation = plan_training(examples, config), plan_evaluation(examples, config)
    trained = [pack for step in training.steps for pack in step]
    for plan, planned in ((training, trained), (evaluation, evaluation.packs)):
        built = [build_planned(examples, pack, plan.shape) for pack in planned]  # a pack beyond its shape is an error
        needed = max(int(pack.own_T.sum()) for pack in built)
        assert needed <= plan.shape.own_tokens < needed + 16 and plan.shape.own_tokens <= plan.shape.tokens
        if bound == "values and features":
            assert plan.shape.values == 3 and plan.shape.features == (("visual", 5),)
    assert dataclasses.replace(training.shape, own_tokens=0) == dataclasses.replace(evaluation.shape, own_tokens=0)
    assert sorted(index for pack in evaluation.packs for index in pack.members) == list(range(8))
