"""``report.html``: one evaluation as a page to read, drawn from the files that it left in the run directory.

The page holds everything it needs, asks no server for anything, and works without JavaScript. Drawn twice from the
same files it is the same, byte for byte.
"""

from dtrm_jax.report.page import write_report

__all__ = ["write_report"]
