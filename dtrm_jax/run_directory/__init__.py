"""What a run keeps on disk."""

from dtrm_jax.run_directory.folder import Checkpoints, RunDirectory, RunFacts, different_settings, placed, signed

__all__ = ["Checkpoints", "RunDirectory", "RunFacts", "different_settings", "placed", "signed"]
