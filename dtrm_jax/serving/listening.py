"""Where the service listens, and who can reach it there."""

import ipaddress
import socket

import uvicorn
from starlette.types import ASGIApp

from dtrm_jax.errors import InputError

_CONNECTIONS = 1024  # at once; further ones are answered with status 503
_SECONDS_TO_END = 5  # for requests that are being answered


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Args:
        host: A name or an address of this machine.
        port: 0 for any that is free.

    Raises:
        InputError: There is no such host, or the port is in use.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host={host} --port={port}: cannot listen there: {error}") from None


def reachable(listening: socket.socket) -> tuple[str, str]:
    """Returns the address of a service as a browser takes it, and who can reach it, in words."""
    address, port = listening.getsockname()[:2]
    ip = ipaddress.ip_address(address.partition("%")[0])
    named = f"[{ip}]" if ip.version == 6 else str(ip)
    if ip.is_loopback:
        return f"http://{named}:{port}", "which only this machine can reach; --host opens it to others"
    if ip.is_unspecified:
        named = "[::1]" if ip.version == 6 else "127.0.0.1"
        return f"http://{named}:{port}", "and everyone who can reach this machine can use it: there is no password"
    return f"http://{named}:{port}", "and everyone who can reach that address can use it: there is no password"


def server(app: ASGIApp) -> uvicorn.Server:
    """Returns the server of an application; its ``run(sockets=[listen(...)])`` serves until it is interrupted."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    return uvicorn.Server(config)
