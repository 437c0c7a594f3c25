"""The service: its addresses, and what each answers."""

import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dtrm_jax.conversation import Conversation
from dtrm_jax.errors import InputError
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.serving import bodies
from dtrm_jax.serving.answers import answer, answers, encoded
from dtrm_jax.serving.facts import facts_of
from dtrm_jax.serving.guard import Guard, body_of, refusal
from dtrm_jax.serving.limits import Limits, Refused
from dtrm_jax.serving.page import draw_page
from dtrm_jax.serving.sessions import Session, Sessions
from dtrm_jax.serving.worker import Worker


def application(predictor: Predictor, limits: Limits, hosts: Collection[str] = ()) -> Starlette:
    """Returns the service of a model, to be run by an ASGI server.

    Args:
        predictor: The model.
        limits: What it admits.
        hosts: Names by which it may be called besides ``localhost`` and addresses.
    """
    service = _Service(predictor, limits)
    return Starlette(
        routes=[
            Route("/", service.page, methods=["GET"]),
            Route("/health", service.health, methods=["GET"]),
            Route("/v1/model", service.model, methods=["GET"]),
            Route("/v1/predict", service.predict, methods=["POST"]),
            Route("/v1/sessions", service.begin, methods=["POST"]),
            Route("/v1/sessions/{name}", service.session, methods=["GET"]),
            Route("/v1/sessions/{name}", service.end, methods=["DELETE"]),
            Route("/v1/sessions/{name}/turns", service.turns, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={
            Refused: lambda _, error: refusal(error.status, str(error)),
            InputError: lambda _, error: refusal(400, str(error)),
            HTTPException: lambda _, error: refusal(error.status_code, error.detail),
            Exception: lambda _, error: refusal(500, f"this is a defect of the service: {type(error).__name__}"),
        },
        lifespan=service.lifespan,
    )


def _json(values: Any, status: int = 200) -> Response:
    return Response(encoded(values), status, media_type="application/json")


class _Service:
    """What is answered at each address.

    Args:
        predictor: The model.
        limits: What is admitted.
    """

    def __init__(self, predictor: Predictor, limits: Limits):
        self._predictor, self._limits = predictor, limits
        self._sessions = Sessions(limits, time.monotonic)
        self._facts = facts_of(predictor)
        self._page, self._policy = draw_page(predictor, self._facts, limits)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Has a worker while the service runs."""
        self._worker = Worker(self._predictor, self._limits)
        try:
            yield
        finally:
            self._worker.end()

    async def page(self, _: Request) -> Response:
        """Answers with the page for people."""
        return Response(
            self._page, media_type="text/html; charset=utf-8", headers={"content-security-policy": self._policy}
        )

    async def health(self, _: Request) -> Response:
        """Says that the service runs, and what it has to do."""
        return _json({"status": "ok", "sessions": len(self._sessions), "waiting": self._worker.waiting})

    async def model(self, _: Request) -> Response:
        """Says what the model is, what it takes and what is admitted."""
        admitted = {"bytes": self._limits.bytes, "turns": self._limits.turns, "characters": self._limits.characters}
        admitted |= {"sessions": self._limits.sessions, "idle_seconds": self._limits.idle}
        return _json({**self._facts, "limits": admitted})

    async def predict(self, request: Request) -> Response:
        """Predicts whole conversations."""
        values = bodies.parse(await body_of(request, self._limits.bytes))
        single, given = bodies.whole(values, self._predictor, self._limits)
        found = await self._worker.whole(given)
        answered = [{"turns": answers(one.turns, turns)} for one, turns in zip(given, found, strict=True)]
        return _json(answered[0] if single else {"conversations": answered})

    async def begin(self, request: Request) -> Response:
        """Begins a session."""
        values = bodies.parse(await body_of(request, self._limits.bytes) or b"{}")
        if values:
            raise InputError(f"expected an empty object, found {next(iter(values))[:60]!r}")
        name = self._sessions.begin(lambda: Session(self._predictor.stream(insides=True)))
        return _json({"session": name, "ends_after_idle_seconds": self._limits.idle}, 201)

    async def session(self, request: Request) -> Response:
        """Says how many turns a session has."""
        name = request.path_params["name"]
        return _json({"session": name, "turns": self._sessions.use(name).stream.turns})

    async def end(self, request: Request) -> Response:
        """Ends a session."""
        self._sessions.end(request.path_params["name"])
        return Response(status_code=204)

    async def turns(self, request: Request) -> Response:
        """Adds one turn to a session and answers it; or several, each answered in a line of its own when it is there.

        All of them are checked before the first is added.
        """
        name = request.path_params["name"]
        self._sessions.use(name)
        values = bodies.parse(await body_of(request, self._limits.bytes))
        begun = self._sessions.use(name).stream.turns > 0
        single, given = bodies.further(values, self._predictor, self._limits, begun=begun)
        added = self._added(name, given)
        first = await anext(added)  # what is refused before it has a status of its own
        if single:
            await added.aclose()
            return Response(first, media_type="application/json")
        return StreamingResponse(self._lines(first, added), media_type="application/x-ndjson")

    async def _lines(self, first: bytes, added: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yields the answers; what goes wrong after the first is the last line."""
        yield first
        try:
            async for line in added:
                yield line
        except (Refused, InputError) as error:
            yield encoded({"error": str(error)})

    async def _added(self, name: str, given: Conversation) -> AsyncGenerator[bytes]:
        async with self._sessions.use(name).lock:
            self._sessions.use(name).stream.check_speakers(turn.speaker for turn in given.turns)
            for index, turn in enumerate(given.turns):
                add = self._sessions.use(name).stream.add
                features = {modality: matrix[index] for modality, matrix in given.features.items()}
                prediction = await self._worker.turn(functools.partial(add, turn.speaker, turn.text, features))
                yield encoded(answer(turn, prediction, lambda place: str(place + 1)))
