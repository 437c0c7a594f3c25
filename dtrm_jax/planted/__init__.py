"""Generated conversations whose rules are known, and with them the best possible accuracy.

``rules`` holds the probability laws, ``generate`` draws from them, ``optimum`` computes the best possible accuracy.
"""

from dtrm_jax.planted.generate import generate
from dtrm_jax.planted.optimum import Information, Optimum, optimal_accuracy
from dtrm_jax.planted.rules import PLANTED_LABELS, RULES, Rules

__all__ = ["PLANTED_LABELS", "RULES", "Information", "Optimum", "Rules", "generate", "optimal_accuracy"]
