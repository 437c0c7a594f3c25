"""A service that runs in a thread of the test, and programs that ask it."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.serving import listening
from dtrm_jax.serving.application import application
from dtrm_jax.serving.limits import Limits
from tests.trained import multimodal, random_trained

LIMITS = Limits(bytes=100_000, turns=60, characters=2000, sessions=70, idle=600.0, waiting=500)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


class Service:
    """A running service.

    Args:
        predictor: Its model.
        port: Of this machine.
    """

    def __init__(self, predictor: Predictor, port: int):
        self.predictor, self.port, self.url = predictor, port, f"http://127.0.0.1:{port}/"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Sends a request; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = {"Content-Type": "application/json"} if method == "POST" else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def begin(self) -> str:
        """Begins a session; returns the path of its turns."""
        return f"/v1/sessions/{self.ask('POST', '/v1/sessions', {}).json['session']}/turns"


@contextmanager
def serving(predictor: Predictor, limits: Limits = LIMITS) -> Iterator[Service]:
    """Runs a service."""
    with listening.listen("127.0.0.1", 0) as bound:
        server = listening.server(application(predictor, limits, hosts=["moods.lan"]))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Service(predictor, bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """Of a causal model that reads text: K is 3."""
    with serving(Predictor(random_trained(multimodal("u")))) as running:
        yield running


@pytest.fixture(scope="session")
def ahead() -> Iterator[Service]:
    """Of a model that sees one later turn, and takes voices too."""
    with serving(Predictor(random_trained(multimodal("ua", tokens__future=1)))) as running:
        yield running
