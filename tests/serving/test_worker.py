"""The thread that computes."""

import asyncio
import dataclasses
import threading

import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.inference.next_pack import NextPack
from dtrm_jax.serving.limits import Refused
from dtrm_jax.serving.worker import Worker
from tests.serving.conftest import LIMITS


class Recording:
    """A predictor whose packs hold as many letters as a pack has room for; the first one waits until it is let go."""

    def __init__(self, room: int):
        self.asked, self.go, self._room = [], threading.Event(), room

    def prepare(self, conversations):
        if "refused" in conversations:
            raise InputError("too many speakers")
        return list(conversations)

    def next_pack(self, waiting):
        members, letters = [], 0
        for place, one in enumerate(waiting):
            if not members or letters + len(one) <= self._room:
                members.append(place)
                letters += len(one)
        return NextPack(tuple(members), None, ())

    def predict_pack(self, waiting, pack, *, insides):
        members = [waiting[place] for place in pack.members]
        self.asked.append(members)
        self.go.wait(30)
        if "bad" in members:
            raise RuntimeError("a defect")
        return [f"of {one}" for one in members]


def run(scenario, room=5, **limits):
    """Runs a scenario with a worker whose thread is busy with a first job; returns the packs."""
    predictor = Recording(room)

    async def main():
        worker = Worker(predictor, dataclasses.replace(LIMITS, **limits))
        try:
            first = asyncio.create_task(worker.whole(["first"]))
            while not predictor.asked:
                await asyncio.sleep(0.01)
            await scenario(worker, predictor)
            assert await first == ["of first"]
        finally:
            predictor.go.set()
            worker.end()

    asyncio.run(main())
    return predictor.asked


def test_what_waits_shares_packs_and_turns_go_first():
    order = []

    async def scenario(worker, predictor):
        wholes = [asyncio.create_task(worker.whole(given)) for given in (["aa", "b"], ["cc"])]
        await asyncio.sleep(0)
        turn = asyncio.create_task(worker.turn(lambda: order.append(len(predictor.asked)) or "turn"))
        await asyncio.sleep(0)
        assert worker.waiting == 3
        predictor.go.set()
        assert await asyncio.gather(*wholes, turn) == [["of aa", "of b"], ["of cc"], "turn"]
        assert worker.waiting == 0

    assert run(scenario) == [["first"], ["aa", "b", "cc"]] and order == [1]


def test_a_request_is_answered_when_its_last_conversation_is_done():
    order = []

    async def scenario(worker, predictor):
        async def ask(name, given):
            answer = await worker.whole(given)
            order.append(name)
            return answer

        wholes = [asyncio.create_task(ask(*one)) for one in (("long", ["aaa", "bbb"]), ("short", ["cc"]))]
        await asyncio.sleep(0)
        predictor.go.set()
        assert await asyncio.gather(*wholes) == [["of aaa", "of bbb"], ["of cc"]]

    assert run(scenario) == [["first"], ["aaa", "cc"], ["bbb"]] and order == ["short", "long"]


def test_turns_go_between_two_packs_and_what_has_come_meanwhile_fills_the_next():
    order = []

    async def scenario(worker, predictor):
        tasks = [asyncio.create_task(worker.whole([given])) for given in ("aaaaa", "bbb")]
        await asyncio.sleep(0)

        def turn():  # while it is computed, more comes
            order.append(len(predictor.asked))
            asyncio.run_coroutine_threadsafe(come(), loop).result(30)

        async def come():
            tasks.append(asyncio.create_task(worker.whole(["cc"])))
            await asyncio.sleep(0)

        loop = asyncio.get_running_loop()
        tasks.append(asyncio.create_task(worker.turn(turn)))
        await asyncio.sleep(0)
        predictor.go.set()
        await tasks[2]
        await asyncio.gather(*tasks)

    assert run(scenario) == [["first"], ["aaaaa"], ["bbb", "cc"]] and order == [1]


def test_a_defect_is_that_of_those_who_asked_and_the_thread_goes_on():
    async def scenario(worker, predictor):
        predictor.go.set()
        with pytest.raises(RuntimeError, match="a defect"):
            await worker.whole(["bad", "of the same request"])
        with pytest.raises(ZeroDivisionError):
            await worker.turn(lambda: 1 / 0)
        assert await worker.whole(["good"]) == ["of good"]

    assert run(scenario) == [["first"], ["bad"], ["good"]]


def test_a_request_that_the_model_refuses_fails_no_other_that_came_with_it():
    async def scenario(worker, predictor):
        given = (["a"], ["refused"], ["b"])
        wholes = [asyncio.create_task(worker.whole(one)) for one in given]
        await asyncio.sleep(0)
        predictor.go.set()
        first, refused, last = await asyncio.gather(*wholes, return_exceptions=True)
        assert (first, last) == (["of a"], ["of b"])
        assert isinstance(refused, InputError) and str(refused) == "too many speakers"

    assert run(scenario) == [["first"], ["a", "b"]]


def test_what_nobody_waits_for_is_not_computed():
    order = []

    async def scenario(worker, predictor):
        gone = [asyncio.create_task(worker.whole(["gone"])), asyncio.create_task(worker.turn(lambda: order.append(1)))]
        here = asyncio.create_task(worker.whole(["here"]))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.sleep(0)
        predictor.go.set()
        assert await here == ["of here"]

    assert run(scenario, room=9) == [["first"], ["here"]] and not order


def test_no_more_wait_than_may():
    async def scenario(worker, predictor):
        waiting = [asyncio.create_task(worker.whole(["a"])), asyncio.create_task(worker.turn(lambda: "b"))]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="at most 2 requests to wait") as refused:
            await worker.turn(lambda: "c")
        assert refused.value.status == 503
        predictor.go.set()
        await asyncio.gather(*waiting)

    run(scenario, waiting=2)
