"""What every request has to pass: it comes from no foreign page, and its body is not too large.

A page of another site that is open in a browser on this machine can send requests to this machine, also under a name of
its own that it lets point here (DNS rebinding). Such requests name a host or an origin that is not ours, and are
refused. There are no CORS headers, so that no foreign page reads an answer.
"""

import asyncio
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtrm_jax.serving.answers import encoded
from dtrm_jax.serving.limits import Refused

_LOCAL = ("localhost",)
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
# A client that still writes does not read the answer: so much of a body that is too large is read, and forgotten.
_MOST_FORGOTTEN = 1 << 26
_SECONDS = 60  # in which a body has to be there


def refusal(status: int, reason: str) -> Response:
    """Returns the answer to a request that is refused: one line of JSON."""
    headers = {"retry-after": "1"} if status == 503 else None
    return Response(encoded({"error": reason}), status, headers, media_type="application/json")


class Guard:
    """Refuses requests of foreign pages, and marks every answer as not to be guessed at, embedded or kept.

    Args:
        app: What it guards.
        hosts: Names by which the service may be called besides ``localhost`` and addresses.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]):
        self._app, self._hosts = app, {*_LOCAL, *(host.casefold() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS.items()]
            await send(message)

        try:
            self._check(scope["method"], Headers(scope=scope))
        except Refused as refused:
            await refusal(refused.status, str(refused))(scope, receive, marked)
            return
        await self._app(scope, receive, marked)

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Refused(403, f"expected this service's host in the header Host, found {host[:100]!r}")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.casefold():
            raise Refused(403, f"expected a page of this service, found one of {origin[:100]!r}")
        kind = headers.get("content-type", "").partition(";")[0].strip().casefold()
        if method == "POST" and kind != "application/json":
            raise Refused(415, f"expected the header Content-Type: application/json, found {kind[:100]!r}")

    def _is_ours(self, host: str) -> bool:
        """Whether a name or an address with a port, perhaps, is ours; a foreign page has a name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _netloc(origin: str) -> str | None:
    """Returns host and port of an origin; None if it is none."""
    try:
        return urlsplit(origin).netloc.casefold()
    except ValueError:  # of brackets that are no address
        return None


async def body_of(request: Request, most: int) -> bytes:
    """Returns the body of a request.

    Args:
        request: Whose body was not read.
        most: Bytes that it may have.

    Raises:
        Refused: It has more, or does not arrive.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            return await _read(request, most)
    except TimeoutError:
        raise Refused(408, f"expected a body within {_SECONDS} seconds") from None
    except ClientDisconnect:
        raise Refused(400, "expected a body, found a client that has gone") from None


async def _read(request: Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
        elif size > _MOST_FORGOTTEN:
            break
        else:
            chunks.clear()
    if size > most:
        raise Refused(413, f"expected a body of at most {most} bytes, found a larger one")
    return b"".join(chunks)
