"""The steps of a training: as many in every epoch, from seed and epoch alone, planned an epoch ahead."""

import itertools
import threading

import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import PlannedPack, build_planned, epoch_order, plan_packs
from dtrm_jax.data.packing import epochs as epochs_module
from dtrm_jax.data.packing import plan as plan_module
from dtrm_jax.data.packing.epochs import EpochPlanner, EpochSteps, first_epoch
from tests.factories import sized

SHAPE = PackShape(((7, 3), (13, 2)), 11)
RANDOM = np.random.default_rng(0)
LENGTHS = [RANDOM.integers(2, 14, RANDOM.integers(1, 4)).tolist() for _ in range(31)]


def planner(lengths=LENGTHS, shape=SHAPE, packs_per_step=1, seed=5, conversations=0, **settings):
    if "first" not in settings:
        settings["first"] = first_epoch(lengths, shape, seed, conversations)
    own_counts = [0] * len(lengths)
    return EpochPlanner(
        lengths=lengths,
        own_counts=own_counts,
        shape=shape,
        packs_per_step=packs_per_step,
        conversations=conversations,
        seed=seed,
        **settings,
    )


def members(steps):
    return [pack.members for step in steps for pack in step]


@pytest.mark.parametrize("packs_per_step", [1, 2, 3, 5, 8, 40])
def test_every_epoch_has_as_many_steps_and_every_conversation_once(packs_per_step):
    planned = planner(packs_per_step=packs_per_step)
    examples = [sized(*lengths) for lengths in LENGTHS]
    for epoch in range(12):
        steps = planned.plan(epoch)
        assert len(steps) == planned.steps and all(len(step) == packs_per_step for step in steps)
        assert sorted(itertools.chain(*members(steps))) == list(range(31))
        assert all(any(pack.members for pack in step) for step in steps), "a step without any conversation"
        empty = sum(not pack.members for step in steps for pack in step)
        assert empty == max(0, planned.steps * packs_per_step - 31)
        for pack in itertools.chain(*steps):
            batch = build_planned(examples, pack, SHAPE)  # a pack that overlaps would lack tokens
            expected = [length for index in pack.members for length in LENGTHS[index]]
            owners = batch.sequence_ids_T[batch.sequence_ids_T >= 0]
            assert np.bincount(owners, minlength=len(expected)).tolist() == expected


@pytest.mark.parametrize("conversations", [1, 2, 3])
def test_a_pack_has_no_more_conversations_than_it_may(conversations):
    planned = planner(shape=PackShape(((13, 9),), 31), conversations=conversations)
    together = set()
    for epoch in range(6):
        packs = members(planned.plan(epoch))
        assert sorted(itertools.chain(*packs)) == list(range(31))
        assert max(map(len, packs)) == conversations and len(packs) == -(-31 // conversations)
        together.add(frozenset(map(frozenset, packs)))
    assert len(together) == (1 if conversations == 1 else 6)


def test_of_many_open_packs_one_with_room_for_a_conversation_stays_open(monkeypatch):
    monkeypatch.setattr(plan_module, "_OPEN", 3)
    packs = plan_packs([[2, 3]] * 20, range(20), PackShape(((30, 30),), 99), conversations=2)
    assert [pack.members for pack in packs] == [(index, index + 1) for index in range(0, 20, 2)]


def test_an_epoch_follows_from_seed_and_number_alone():
    planned = planner(packs_per_step=2)
    later = planned.plan(3)
    assert planner(packs_per_step=2).plan(3) == later
    assert planner(packs_per_step=2, seed=6).plan(3) != later
    assert len({frozenset(map(frozenset, members(planned.plan(epoch)))) for epoch in range(4)}) == 4


def test_packs_are_trained_on_in_an_order_of_their_own():
    """Not in the order of packing, largest first, and in another one for every epoch and seed."""
    # One conversation fills a pack, so that packing leaves the order as it was.
    lengths, shape = [[7, index + 1] for index in range(7)] * 3, PackShape(((7, 2),), 2)
    places = []
    for seed in (5, 6):
        planned = planner(lengths, shape, seed=seed)
        for epoch in range(3):
            packed = plan_packs(lengths, epoch_order(lengths, seed, epoch), shape)
            trained = [pack for [pack] in planned.plan(epoch)]
            assert sorted(trained, key=lambda pack: pack.members) == sorted(packed, key=lambda pack: pack.members)
            places.append(tuple(packed.index(pack) for pack in trained))
    assert tuple(range(21)) not in places
    assert len(set(places)) == 6


def drawn(monkeypatch, counts):
    """Makes every draw of an epoch as many packs as ``counts`` says; returns the draws that were made."""
    draws = []

    def order(lengths, seed, epoch, draw=0):
        draws.append(draw)
        return list(range(len(lengths)))

    def packs(lengths, order, shape, own_counts=None, conversations=0):
        parts = np.array_split(order, counts[len(draws) - 1])
        return [PlannedPack(tuple(part.tolist()), ((0,),) * len(part)) for part in parts]

    monkeypatch.setattr(epochs_module, "epoch_order", order)
    monkeypatch.setattr(epochs_module, "plan_packs", packs)
    return draws


def test_an_epoch_of_more_packs_than_the_first_is_drawn_again(monkeypatch):
    first = first_epoch(LENGTHS, SHAPE, 5, 0)
    draws = drawn(monkeypatch, [len(first) + 2, len(first) + 1, len(first)])
    steps = planner(first=first).plan(1)
    assert draws == [0, 1, 2] and len(steps) == len(first)
    assert set(members(steps)) == {tuple(part.tolist()) for part in np.array_split(range(31), len(first))}


def test_an_epoch_of_which_no_draw_has_as_few_packs_takes_those_of_the_first(monkeypatch):
    first = first_epoch(LENGTHS, SHAPE, 5, 0)
    drawn(monkeypatch, [len(first) + 1] * 5)
    steps = planner(first=first).plan(2)
    assert sorted(members(steps)) == sorted(pack.members for pack in first)
    assert members(steps) != members(planner(first=first).plan(0)), "in an order of its own"


@pytest.mark.parametrize(("packs", "expected"), [(4, [2, 9, 10, 10]), (5, [2, 4, 5, 10, 10]), (31, [1] * 31)])
def test_an_epoch_of_fewer_packs_has_the_fullest_split_in_two(monkeypatch, packs, expected):
    parts = np.split(np.arange(31), (9, 29))
    found = [PlannedPack(tuple(part.tolist()), ((0,),) * len(part)) for part in parts]
    monkeypatch.setattr(epochs_module, "plan_packs", lambda *_: found)
    steps = planner(first=[PlannedPack()] * packs).plan(1)
    assert sorted(map(len, members(steps))) == expected
    assert sorted(itertools.chain(*members(steps))) == list(range(31))


def test_of_many_packs_one_in_a_thousand_more_is_allowed():
    lengths, shape = [[7, 7]] * 2500, PackShape(((7, 4),), 4)
    one_each = [PlannedPack((index,), ((0, 7),)) for index in range(2500)]
    assert planner(lengths, shape, first=one_each[:1999]).steps == 2000
    assert planner(lengths, shape, first=one_each[:999]).steps == 999
    assert planner(lengths, shape, first=one_each).steps == 2500, "not more than there are conversations"


def test_no_pack_has_more_own_tokens_than_the_shape_bounds():
    shape, own = PackShape(((7, 3), (13, 2)), 11, own_tokens=16), [sum(lengths) for lengths in LENGTHS]
    bounded = [index for index in range(31) if own[index] <= 16]
    lengths, own = [LENGTHS[index] for index in bounded], [own[index] for index in bounded]
    for epoch in range(5):
        packs = plan_packs(lengths, epoch_order(lengths, 0, epoch), shape, own)
        totals = [sum(own[index] for index in pack.members) for pack in packs]
        assert max(totals) <= 16 and sum(totals) == sum(own)
    assert any(
        sum(own[index] for index in pack.members) > 16
        for pack in plan_packs(lengths, epoch_order(lengths, 0, 0), shape)
    ), "without their counts the bound would not hold by itself"


class Recorded:
    """A planner of three steps an epoch that notes when, and in which thread, an epoch is planned."""

    steps = 3

    def __init__(self):
        self.planned = {epoch: threading.Event() for epoch in range(4)}
        self.calls = []

    def plan(self, epoch):
        self.calls.append((epoch, threading.current_thread() is threading.main_thread()))
        self.planned[epoch].set()
        return [[PlannedPack((3 * epoch + step,), ((0,),))] for step in range(3)]


def test_the_next_epoch_is_planned_in_the_background_while_one_is_read():
    recorded = Recorded()
    steps = EpochSteps(recorded, 4)
    assert len(steps) == 12 and list(steps.epoch_ends) == [3, 6, 9, 12]
    assert not recorded.calls, "nothing is planned before it is asked for"
    assert steps[0] == [PlannedPack((0,), ((0,),))]
    assert recorded.planned[1].wait(10) and not recorded.planned[2].is_set()
    assert [steps[index][0].members for index in (1, 2, 3, 4, 5)] == [(1,), (2,), (3,), (4,), (5,)]
    assert recorded.planned[2].wait(10) and not recorded.planned[3].is_set()
    assert recorded.calls == [(0, False), (1, False), (2, False)], "once each, and none of them in this thread"


def test_any_step_is_addressed_without_the_epochs_before_it():
    recorded = Recorded()
    steps = EpochSteps(recorded, 4)
    assert steps[10] == [PlannedPack((10,), ((0,),))] == steps[-2]
    assert recorded.calls == [(3, False)]
    assert [step[0].members for step in steps[2:8:2]] == [(2,), (4,), (6,)]
    assert [step[0].members for step in steps] == [(index,) for index in range(12)]
    with pytest.raises(IndexError):
        steps[12]
