"""The thread that computes."""

import asyncio
import dataclasses
import threading

import pytest

from dtrm_jax.serving.limits import Refused
from dtrm_jax.serving.worker import Worker
from tests.serving.conftest import LIMITS


class Recording:
    """A predictor whose first answer waits until it is let go."""

    def __init__(self):
        self.asked, self.go = [], threading.Event()

    def predict(self, conversations, *, insides):
        self.asked.append(list(conversations))
        self.go.wait(30)
        if "bad" in conversations:
            raise RuntimeError("a defect")
        return [f"of {one}" for one in conversations]


def run(scenario, **limits):
    """Runs a scenario with a worker whose thread is busy with a first job."""
    predictor = Recording()

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


def test_what_waits_is_predicted_together_and_turns_go_first():
    order = []

    async def scenario(worker, predictor):
        wholes = [asyncio.create_task(worker.whole(given)) for given in (["aa", "b"], ["cc"])]
        await asyncio.sleep(0)
        turn = asyncio.create_task(worker.turn(lambda: order.append(len(predictor.asked)) or "turn"))
        await asyncio.sleep(0)
        assert worker.waiting == 3
        predictor.go.set()
        assert await asyncio.gather(*wholes, turn) == [["of aa", "of b"], ["of cc"], "turn"]

    assert run(scenario) == [["first"], ["aa", "b", "cc"]] and order == [1]


def test_no_more_turns_are_predicted_together_than_a_request_may_have():
    async def scenario(worker, predictor):
        wholes = [asyncio.create_task(worker.whole([given])) for given in ("aaa", "bbb", "ccc")]
        await asyncio.sleep(0)
        predictor.go.set()
        await asyncio.gather(*wholes)

    assert run(scenario, turns=5) == [["first"], ["aaa", "bbb"], ["ccc"]]


def test_a_defect_is_that_of_those_who_asked_and_the_thread_goes_on():
    async def scenario(worker, predictor):
        predictor.go.set()
        with pytest.raises(RuntimeError, match="a defect"):
            await worker.whole(["bad"])
        with pytest.raises(ZeroDivisionError):
            await worker.turn(lambda: 1 / 0)
        assert await worker.whole(["good"]) == ["of good"]

    run(scenario)


def test_what_nobody_waits_for_is_not_computed():
    async def scenario(worker, predictor):
        gone = asyncio.create_task(worker.whole(["gone"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        predictor.go.set()
        assert await worker.whole(["here"]) == ["of here"]

    assert run(scenario) == [["first"], ["here"]]


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
