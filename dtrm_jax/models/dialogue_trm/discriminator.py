"""The discriminator (section 4.3)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from dtrm_jax.batch import Array
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.transformer import LINEAR_INIT


class Discriminator(nn.Module):
    """``W tanh(W o)`` with biases (eq. 17, without the softmax, which the loss applies).

    Attributes:
        outputs: Classes, or real-valued targets.
        dropout: Rate before both layers.
        dtype: Of the computation; the outputs are float32.
    """

    outputs: int
    dropout: float
    dtype: DTypeLike

    @nn.compact
    def __call__(self, o_UxD: Float[Array, "U D"], deterministic: bool) -> Float[Array, "U C"]:
        """Returns float32 logits, or real values."""
        drop = Dropout(self.dropout)
        hidden = nn.Dense(o_UxD.shape[-1], dtype=self.dtype, kernel_init=LINEAR_INIT, name="hidden")
        output = nn.Dense(self.outputs, dtype=self.dtype, kernel_init=LINEAR_INIT, name="output")
        h_UxD = jnp.tanh(hidden(drop(o_UxD, deterministic)))
        return output(drop(h_UxD, deterministic)).astype(jnp.float32)
