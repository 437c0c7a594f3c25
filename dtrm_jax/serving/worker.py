"""The one thread that computes, so that the loop which answers requests never waits for the model.

Whole conversations that wait are predicted together: they share packs, which short ones do not fill. Turns of sessions
go first, one after another, in the order in which they came.
"""

import asyncio
import collections
import threading
from collections.abc import Callable
from typing import Any

from dtrm_jax.conversation import Conversation
from dtrm_jax.inference.prediction import Prediction
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.serving.limits import Limits, Refused


class _Job:
    """Something to compute, and where its result is awaited.

    Args:
        work: What to compute: a function, or conversations.
    """

    def __init__(self, work: Any):
        self.work, self._loop = work, asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def done(self, result: Any, error: BaseException | None = None) -> None:
        """Hands the result, or what went wrong, to whoever waits; nobody does if the client has gone."""
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the loop has ended, and the service with it
            pass

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Worker:
    """Computes, in one thread, what is handed to it.

    Args:
        predictor: The model.
        limits: How many jobs may wait.
    """

    def __init__(self, predictor: Predictor, limits: Limits):
        self._predictor, self._limits = predictor, limits
        self._turns: collections.deque[_Job] = collections.deque()
        self._wholes: collections.deque[_Job] = collections.deque()
        self._changed, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="predicting", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._turns) + len(self._wholes)

    async def turn(self, work: Callable[[], Prediction]) -> Prediction:
        """Computes one turn of a session.

        Raises:
            Refused: Too many jobs wait.
        """
        return await self._hand(self._turns, _Job(work))

    async def whole(self, conversations: list[Conversation]) -> list[list[Prediction]]:
        """Predicts whole conversations, with the model's insides.

        Raises:
            Refused: Too many jobs wait.
        """
        return await self._hand(self._wholes, _Job(conversations))

    def end(self) -> None:
        """Ends the thread after what it is computing; what waits is not computed."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    async def _hand(self, jobs: collections.deque[_Job], job: _Job) -> Any:
        with self._changed:
            if self.waiting >= self._limits.waiting:
                raise Refused(503, f"expected at most {self._limits.waiting} requests to wait, try again later")
            jobs.append(job)
            self._changed.notify()
        return await job.future

    def _run(self) -> None:
        while not self._ended:
            turns, wholes = self._take()
            for job in turns:
                self._attempt([job], lambda jobs: [job.work() for job in jobs])
            self._attempt(wholes, self._together)

    def _take(self) -> tuple[list[_Job], list[_Job]]:
        """Waits for jobs; returns all turns and as many whole conversations as one request may have, at least one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.waiting)
            turns, wholes, count = list(self._turns), [], 0
            self._turns.clear()
            while self._wholes and (not wholes or count < self._limits.turns):
                wholes.append(self._wholes.popleft())
                count += sum(map(len, wholes[-1].work))
        return turns, wholes

    def _attempt(self, jobs: list[_Job], compute: Callable[[list[_Job]], list[Any]]) -> None:
        jobs = [job for job in jobs if not job.future.cancelled()]  # whose client has gone
        if not jobs:
            return
        try:
            results = compute(jobs)
        except Exception as error:  # which is theirs; the service goes on
            for job in jobs:
                job.done(None, error)
            return
        for job, result in zip(jobs, results, strict=True):
            job.done(result)

    def _together(self, jobs: list[_Job]) -> list[list[list[Prediction]]]:
        """Predicts the conversations of all jobs at once."""
        found = iter(self._predictor.predict([one for job in jobs for one in job.work], insides=True))
        return [[next(found) for _ in job.work] for job in jobs]
