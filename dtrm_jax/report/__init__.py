"""``report.html``: one evaluation, or predictions alone, as a page to read, drawn from the files that they left.

The page holds everything it needs, asks no server for anything, and works without JavaScript. Drawn twice from the
same files it is the same, byte for byte.
"""

from dtrm_jax.report.facts import PredictionFacts
from dtrm_jax.report.page import write_report
from dtrm_jax.report.prediction import write_prediction_report

__all__ = ["PredictionFacts", "write_prediction_report", "write_report"]
