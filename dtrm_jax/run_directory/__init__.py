"""A run on disk: its folder, its checkpoints, and the manifest that its model is rebuilt from.

Orbax, which takes a second to import, is needed for the checkpoints alone: they are imported from ``checkpoints``, and
``pruning`` is imported where it is needed.
"""

from dtrm_jax.run_directory.folder import RunDirectory
from dtrm_jax.run_directory.manifest import Extension, Manifest, Origin

__all__ = ["Extension", "Manifest", "Origin", "RunDirectory"]
