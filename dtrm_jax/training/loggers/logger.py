"""The interface of loggers, and what they share."""

from typing import Any, Protocol

from dtrm_jax.json_file import read_object, write_json
from dtrm_jax.run_directory import RunDirectory


class Logger(Protocol):
    """Takes the records of a training; it may raise anything, which ends it and not the training."""

    def write(self, record: dict[str, Any]) -> None:
        """Takes one record: ``step`` and ``split`` name it, its other numbers are measurements."""

    def close(self) -> None:
        """Takes no more; what was written is kept."""


def measurements(record: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of a record by ``<split>/<name>``."""
    return {
        f"{record['split']}/{name}": value
        for name, value in record.items()
        if isinstance(value, int | float) and name != "step"
    }


def known_as(run: RunDirectory, name: str) -> str | None:
    """Returns what a logger calls this run; None if it has not seen it yet."""
    return _known(run).get(name)


def remember(run: RunDirectory, name: str, identity: str) -> None:
    """Keeps what a logger calls this run, so that a resumed training goes on in the same curves."""
    write_json(run.logged_as, _known(run) | {name: identity})


def _known(run: RunDirectory) -> dict[str, str]:
    return read_object(run.logged_as, "the names of a run in its loggers") if run.logged_as.exists() else {}
