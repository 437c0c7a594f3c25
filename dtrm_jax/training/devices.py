"""Which devices share the packs of a step."""

import jax
import numpy as np
from jax.sharding import Mesh

from dtrm_jax.errors import InputError
from dtrm_jax.training.step import AXIS


def mesh_of(packs_per_step: int) -> Mesh:
    """Returns a mesh over all devices, or over as many local ones as the packs of a step can be shared among equally.

    Raises:
        InputError: There are several processes, and their devices cannot share the packs equally.
    """
    devices = jax.devices()
    if packs_per_step % len(devices) == 0:
        return Mesh(np.asarray(devices), (AXIS,))
    if jax.process_count() > 1:
        raise InputError(
            f"config.packing.packs_per_step: expected a multiple of the {len(devices)} devices of all processes, "
            f"found {packs_per_step}"
        )
    count = max(n for n in range(1, len(devices) + 1) if packs_per_step % n == 0)
    print(f"using {count} of {len(devices)} devices: config.packing.packs_per_step is {packs_per_step}")
    return Mesh(np.asarray(devices[:count]), (AXIS,))
