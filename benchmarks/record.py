"""The file that a benchmark leaves its figures in."""

import json
import pathlib
from typing import Any

from absl import flags

_JSON = flags.DEFINE_string("json", None, "Write the figures to this file too.")


def write(figures: dict[str, Any]) -> None:
    """Writes the figures to the file that was asked for, if any."""
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
