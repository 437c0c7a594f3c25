"""A run on disk: its folder, its checkpoints, and the manifest that its model is rebuilt from."""

from dtrm_jax.run_directory.checkpoints import Checkpoints, Restored, placed
from dtrm_jax.run_directory.folder import RunDirectory
from dtrm_jax.run_directory.manifest import Manifest

__all__ = ["Checkpoints", "Restored", "RunDirectory", "Manifest", "placed"]
