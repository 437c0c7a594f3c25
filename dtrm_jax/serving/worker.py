"""The one thread that computes, so that the loop which answers requests never waits for the model.

Whole conversations that wait share packs, which short ones do not fill. Each pack is chosen when the one before it is
done, from all that wait then, and answered by itself. Turns of sessions go between two packs, one after another, in the
order in which they came.
"""

import asyncio
import collections
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from dtrm_jax.conversation import Conversation
from dtrm_jax.inference.next_pack import NextPack, Prepared
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
        self.found: dict[int, list[Prediction]] = {}  # of conversations, those that are done

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


class _Part(NamedTuple):
    """One of the conversations of a job, ready to be packed."""

    job: _Job
    number: int
    prepared: Prepared


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
        # Of whole conversations, the oldest first. The thread alone changes it, and only as a whole.
        self._parts: list[_Part] = []
        self._changed, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="predicting", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._turns) + len(self._wholes) + len({part.job for part in self._parts})

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
                self._attempt([job], lambda job=job: job.done(job.work()))
            for job in wholes:  # each by itself, as one that the model refuses is not to answer for the others
                self._attempt([job], lambda job=job: self._prepare(job))
            self._predict_next()

    def _take(self) -> tuple[list[_Job], list[_Job]]:
        """Waits for something to do; returns the turns and the whole conversations that have come."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.waiting)
            turns, wholes = list(self._turns), list(self._wholes)
            self._turns.clear()
            self._wholes.clear()
        return turns, wholes

    def _attempt(self, jobs: list[_Job], compute: Callable[[], None]) -> None:
        """Computes something of jobs; what goes wrong is theirs, and the service goes on."""
        if all(job.future.cancelled() for job in jobs):  # whose clients have gone
            return
        try:
            compute()
        except Exception as error:
            for job in jobs:
                job.done(None, error)
            self._parts = [part for part in self._parts if part.job not in jobs]

    def _prepare(self, job: _Job) -> None:
        """Puts the conversations of a job among those that wait for a pack."""
        parts = [_Part(job, number, prepared) for number, prepared in enumerate(self._predictor.prepare(job.work))]
        self._parts = [*self._parts, *parts]

    def _predict_next(self) -> None:
        """Predicts a pack of the conversations that wait, if any do, and answers the jobs that are then complete."""
        open_parts = [part for part in self._parts if not part.job.future.cancelled()]
        if not open_parts:
            self._parts = []
            return
        waiting = [part.prepared for part in open_parts]
        pack = self._predictor.next_pack(waiting)
        parts = [open_parts[place] for place in pack.members]
        self._parts = [part for place, part in enumerate(open_parts) if place not in pack.members]
        self._attempt([part.job for part in parts], lambda: self._answer(parts, waiting, pack))

    def _answer(self, parts: list[_Part], waiting: list[Prepared], pack: NextPack) -> None:
        found = self._predictor.predict_pack(waiting, pack, insides=True)
        for part, turns in zip(parts, found, strict=True):
            part.job.found[part.number] = turns
            if len(part.job.found) == len(part.job.work):
                part.job.done([part.job.found[number] for number in range(len(part.job.work))])
