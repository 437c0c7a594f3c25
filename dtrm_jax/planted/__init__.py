"""Generated conversations whose rules are known, and with them the best possible accuracy.

``rules`` holds the probability laws, ``generate`` draws from them, ``optimum`` computes the best possible accuracy.
"""

from dtrm_jax.planted.generate import generate
from dtrm_jax.planted.optimum import Information, optimal_accuracy

__all__ = ["Information", "generate", "optimal_accuracy"]
