"""From a run to a folder that can be shared: weights, what they are read with, and a model card."""

from dtrm_jax.sharing.exporting import Exported, export
from dtrm_jax.sharing.model_card import Owner

__all__ = ["Exported", "Owner", "export"]
