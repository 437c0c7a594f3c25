"""Multimodal compact bilinear pooling (Fukui et al. 2016): a sketch of the product of all neurons with all neurons.

The outer product of the modalities' representations has ``D^2`` or ``D^3`` entries. Its count sketch has ``Z``, and is
the circular convolution of the count sketches of the representations, which the Fourier transform makes a product.

The hashes are drawn once and never trained. They are a function of ``config.model.fusion.seed`` alone, which every run
directory holds, so that they are no parameters: no gradient, moment or weight decay can reach them.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.dialogue_trm.fusions.fusion import LETTERS, Fusion, Position, Presence, Representations, ordered
from dtrm_jax.models.layers.transformer import LINEAR_INIT

# Under the signed root: its slope is infinite at 0, where all that float32's Fourier transform leaves is noise.
ROUNDING = 1e-4


class Bilinear(Fusion):
    """``o = W y / |y| + b``, ``y = sign(x) sqrt|x|``, ``x = irfft(prod_m rfft(psi_m(r_m)))``.

    ``psi_m`` is ``count_sketch`` with the hashes of modality ``m``. A modality that a turn lacks is left out of the
    product. The sketch is computed in float32, and its root is ``x / sqrt(|x| + 1e-4)``.
    """

    title = "bilinear"

    @nn.compact
    def __call__(
        self, r_UxD: Representations, present_U: Presence, position: Position, deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns the projected sketch; the projection's bias where nothing is present."""
        width, size, seed = next(iter(r_UxD.values())).shape[-1], self.config.sketch, self.config.seed
        psi_UxZ = {
            name: count_sketch(r_UxD[name].astype(jnp.float32), *hashes(seed, name, width, size), size)
            for name in ordered(r_UxD)
        }
        x_UxZ = convolve(psi_UxZ, present_U)
        project = nn.Dense(width, dtype=self.dtype, kernel_init=LINEAR_INIT, name="project")
        return project(normalise(x_UxZ))


def hashes(seed: int, modality: str, width: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bucket ``h`` ``[D]``, 0 to ``size - 1``, and the sign ``s`` ``[D]`` of every neuron of a modality.

    Taken from the raw stream of the bit generator, which NumPy keeps from version to version; that of its
    ``Generator`` it may change.
    """
    raw = np.random.PCG64([seed, list(LETTERS).index(modality)]).random_raw(2 * width)
    bucket_D, sign_D = raw[:width] % size, np.where(raw[width:] >> 63, 1, -1)
    return bucket_D.astype(np.int32), sign_D.astype(np.float32)


def count_sketch(
    x_UxD: Float[Array, "U D"], bucket_D: np.ndarray, sign_D: np.ndarray, size: int
) -> Float[Array, "U Z"]:
    """``psi_j = sum over the i with h_i = j of s_i x_i``."""
    # A product with a matrix of 0, 1 and -1 sums in one order always; scattered additions on a GPU do not.
    sketch_DxZ = jax.nn.one_hot(bucket_D, size, dtype=x_UxD.dtype) * sign_D[:, None]
    return jnp.matmul(x_UxD, sketch_DxZ, precision=jax.lax.Precision.HIGHEST)


def convolve(psi_UxZ: Mapping[str, Float[Array, "U Z"]], present_U: Presence) -> Float[Array, "U Z"]:
    """Returns the circular convolution of a turn's present sketches; zeros where none is present."""
    # 1 is the spectrum of the unit impulse, which changes nothing.
    spectra = [jnp.where(present_U[name][:, None], jnp.fft.rfft(psi), 1) for name, psi in psi_UxZ.items()]
    x_UxZ = jnp.fft.irfft(math.prod(spectra), n=next(iter(psi_UxZ.values())).shape[-1])
    present = jnp.stack([present_U[name] for name in psi_UxZ]).any(axis=0)
    return jnp.where(present[:, None], x_UxZ, 0)


def normalise(x_UxZ: Float[Array, "U Z"]) -> Float[Array, "U Z"]:
    """Returns the signed square root, scaled to length 1; zeros stay zeros."""
    y_UxZ = x_UxZ * jax.lax.rsqrt(jnp.abs(x_UxZ) + ROUNDING)
    return y_UxZ * jax.lax.rsqrt(jnp.square(y_UxZ).sum(axis=-1, keepdims=True) + 1e-8)
