"""When something was evaluated or predicted, and by which version; reports show what the files say of it."""

import datetime

from dtrm_jax import __version__


def stamp() -> dict[str, str]:
    """Returns ``evaluated``, the time in UTC as ISO 8601 writes it, and ``version``, of dtrm_jax: now, and this one."""
    return {"evaluated": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "version": __version__}
