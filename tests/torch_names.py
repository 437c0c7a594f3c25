"""Parameter trees of our modules from arrays under PyTorch's names."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def dense_params(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns flax's Dense from torch's Linear."""
    return {"kernel": arrays[f"{prefix}.weight"].T, "bias": arrays[f"{prefix}.bias"]}


def norm_params(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Returns flax's LayerNorm from torch's."""
    return {"scale": arrays[f"{prefix}.weight"], "bias": arrays[f"{prefix}.bias"]}


def transformer_params(arrays: Mapping[str, np.ndarray], layers: int, prefix: str = "") -> dict[str, Any]:
    """Returns ``Transformer``'s tree from ``torch.nn.TransformerEncoder``'s names; torch fuses query, key and value."""
    tree = {}
    for index in range(layers):
        layer = f"{prefix}layers.{index}"
        kernels = np.split(arrays[f"{layer}.self_attn.in_proj_weight"], 3)
        biases = np.split(arrays[f"{layer}.self_attn.in_proj_bias"], 3)
        attention = {
            name: {"kernel": kernel.T, "bias": bias}
            for name, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True)
        }
        attention["out"] = dense_params(arrays, f"{layer}.self_attn.out_proj")
        tree[f"layer_{index}"] = {
            "attention": attention,
            "linear1": dense_params(arrays, f"{layer}.linear1"),
            "linear2": dense_params(arrays, f"{layer}.linear2"),
            "norm1": norm_params(arrays, f"{layer}.norm1"),
            "norm2": norm_params(arrays, f"{layer}.norm2"),
        }
    return tree


def discriminator_params(arrays: Mapping[str, np.ndarray], hidden: str, output: str) -> dict[str, Any]:
    """Returns ``Discriminator``'s tree from two Linears."""
    return {"hidden": dense_params(arrays, hidden), "output": dense_params(arrays, output)}
