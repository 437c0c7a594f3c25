"""Several processes as one: a TPU pod slice, a Slurm job, or processes that are told where to meet."""

import re

from dtrm_jax.errors import InputError


def join(meeting: str) -> None:
    """Joins this process with the others of its run; call it before JAX is used.

    Args:
        meeting: "auto" where JAX finds the others by itself (TPU pods, Slurm, Open MPI), otherwise
            "HOST:PORT,PROCESSES,NUMBER": where process 0 listens, how many there are, and which of them this is.

    Raises:
        InputError: The text has neither form, or JAX cannot find the other processes.
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
    parts = re.fullmatch(r"([^,\s]+:\d+),(\d+),(\d+)", meeting)
    if parts is None or int(parts[3]) >= int(parts[2]):
        raise InputError(
            f"--distributed: expected auto or HOST:PORT,PROCESSES,NUMBER with numbers from 0, found {meeting!r}"
        )
    jax.distributed.initialize(parts[1], int(parts[2]), int(parts[3]))
