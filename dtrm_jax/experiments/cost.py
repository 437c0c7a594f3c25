"""What a run of a table cost: the seconds of its training and evaluation, over all the times that it was started.

They are kept in ``cost.json`` of the run directory, as a run may be interrupted: ``{"seconds": 512.3, "measured": 1}``,
where ``measured`` counts the starts of the training. A run that was trained before, by another command, has none.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json, write_json
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.starts import read_starts

_FILE = "cost.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What is known of a run's cost.

    Attributes:
        seconds: Of training and evaluation, compilation included; other programs may have used the machine, too.
        complete: Whether that is all. What a killed process did is not measured.
        machine: The processor, and the accelerators if there are any.
        cores: That the process might use.
    """

    seconds: float
    complete: bool
    machine: str
    cores: int | None


@contextlib.contextmanager
def measured(run: RunDirectory) -> Iterator[None]:
    """Adds the time of a block to what is kept of a run, however the block ends."""
    began, before = time.monotonic(), _starts(run)
    try:
        yield
    finally:
        if run.path.is_dir():
            seconds, times = _kept(run)
            taken = round(seconds + time.monotonic() - began, 1)
            kept = {"seconds": taken, "measured": times + _starts(run) - before}
            write_json(run.path / _FILE, kept)


def cost_of(run: RunDirectory) -> Cost | None:
    """Returns what a run cost; None if nothing was measured."""
    seconds, times = _kept(run)
    if not times:
        return None
    surroundings = read_starts(run.starts_file, damaged=True)
    machine = surroundings[-1].get("machine", {}) if surroundings else {}
    devices = str(machine.get("devices", ""))
    return Cost(
        seconds=seconds,
        complete=times >= _counted(surroundings),
        machine=", ".join(filter(None, (machine.get("processor"), "" if devices.endswith("(cpu)") else devices))),
        cores=machine.get("cores"),
    )


def _starts(run: RunDirectory) -> int:
    """Returns how often the training was started."""
    return _counted(read_starts(run.starts_file, damaged=True))


def _counted(surroundings: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(one["starts"]) for one in surroundings)


def _kept(run: RunDirectory) -> tuple[float, int]:
    """Returns the seconds so far, and how many starts they are of; a damaged file is as none."""
    file = run.path / _FILE
    if not file.is_file():
        return 0.0, 0
    try:
        values = read_json(file, "the cost of a run")
        return float(values["seconds"]), int(values["measured"])
    except (InputError, KeyError, TypeError, ValueError):
        return 0.0, 0
