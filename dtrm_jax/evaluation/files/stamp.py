"""When something was evaluated or predicted, by which version and where; reports show what the files say of it."""

import datetime
from typing import Any

from dtrm_jax import __version__
from dtrm_jax.provenance import provenance


def stamp() -> dict[str, Any]:
    """Returns the time in UTC as ISO 8601 writes it, the version of dtrm_jax, and ``dtrm_jax.provenance``: of now."""
    return {
        "evaluated": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "provenance": provenance(),
    }
