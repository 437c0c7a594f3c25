"""Reading what Orbax has written, without its manager of checkpoints."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp


def described(folder: Path) -> dict[str, Any]:
    """Returns the tree of what Orbax knows of the arrays that are on disk, as far as it can be read."""
    with without_warnings(), ocp.PyTreeCheckpointer() as checkpointer:
        found = checkpointer.metadata(folder).item_metadata
    return {} if found is None else found.tree


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keeps Orbax from warning that the parts of a checkpoint are read one by one."""
    logger = logging.getLogger("absl")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)
