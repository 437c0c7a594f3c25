"""Several processes as one: a TPU pod slice, a Slurm job, or processes that are told where to meet."""

import re
import socket
import time

from dtrm_jax.errors import InputError

_PATIENCE_S = 300.0  # as long as JAX waits
_LAST_PORT = 65535


def join(meeting: str) -> None:
    """Joins this process with the others of its run; call it before JAX is used.

    Args:
        meeting: "auto" where JAX finds the others by itself (TPU pods, Slurm, Open MPI), otherwise
            "HOST:PORT,PROCESSES,NUMBER": where process 0 listens, how many there are, and which of them this is.

    Raises:
        InputError: The text has neither form, JAX cannot find the other processes, the port is in use, or process 0
            does not listen.
    """
    import jax

    if meeting == "auto":
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise InputError(
                f"--distributed=auto: neither a TPU pod, Slurm nor Open MPI is here ({error}); "
                "give HOST:PORT,PROCESSES,NUMBER"
            ) from error
        return
    parts = re.fullmatch(r"([^,\s]+):(\d+),(\d+),(\d+)", meeting)
    if parts is None or int(parts[4]) >= int(parts[3]) or int(parts[2]) > _LAST_PORT:
        raise InputError(
            f"--distributed: expected auto or HOST:PORT,PROCESSES,NUMBER with numbers from 0, found {meeting!r}"
        )
    number = int(parts[4])
    _check_reachable(parts[1], int(parts[2]), listens=number == 0)
    jax.distributed.initialize(f"{parts[1]}:{parts[2]}", int(parts[3]), number)


def _check_reachable(host: str, port: int, *, listens: bool) -> None:
    """Raises InputError if process 0 cannot listen, or if the others do not reach it, where JAX would crash."""
    try:
        if listens:
            socket.create_server(("", port)).close()
        else:
            _wait_for(host.strip("[]"), port)  # as IPv6 is written
    except OSError as error:
        why = "cannot listen there" if listens else f"nobody listened there for {_PATIENCE_S:g} s"
        raise InputError(f"--distributed: {host}:{port}: {why}: {error}") from error


def _wait_for(host: str, port: int) -> None:
    """Waits until somebody listens; raises OSError if nobody does for ``_PATIENCE_S``."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection((host, port), timeout=_PATIENCE_S).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
