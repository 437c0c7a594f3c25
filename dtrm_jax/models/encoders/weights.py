"""Weight files -> parameters; strict: nothing unexplained is accepted. Neither transformers nor PyTorch is needed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from dtrm_jax import tensor_file
from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders.family import Encoder

FILE = "model.safetensors"
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def load_params(folder: Path, encoder: Encoder) -> dict[str, Any]:
    """Reads ``model.safetensors`` into the encoder's parameter tree.

    Names may carry one of the family's prefixes and the old ``gamma`` and ``beta`` of layer norms. Arrays that an
    encoder has no use for (``Encoder.extras``) are left out. Every other array must be one of ``Encoder.arrays``, and
    none of those may be missing.

    Args:
        folder: As ``hub.locate`` returns it.
        encoder: The sizes to expect.

    Returns:
        Nested dicts of float32 NumPy arrays; kernels are ``[in, out]``, embeddings ``[rows, D]``. What no file holds,
        learned segment embeddings, is not among them.

    Raises:
        InputError: The file is missing or damaged, or names the arrays that are missing, unexpected, of the wrong shape
            (found and expected), not of floating point or not finite.
    """
    path = _weight_file(folder)
    targets = encoder.arrays()
    params: dict[tuple[str, ...], np.ndarray] = {}
    with tensor_file.opened(path) as file:
        names = _canonical_names(path, file.keys(), encoder)
        shapes = {name: target.shape for name, target in targets.items()}
        tensor_file.check(path, file, names, shapes, holds=f"the {encoder.family} of config.json")
        for name, target in targets.items():
            with np.errstate(over="ignore"):  # what is then not finite is refused
                array = file.get_tensor(names[name]).astype(np.float32)
            tensor_file.finite(path, names[name], array)
            params[target.path] = np.ascontiguousarray(array.T) if target.transpose else array
    return flax.traverse_util.unflatten_dict(params)


def _canonical_names(path: Path, stored_names: Iterable[str], encoder: Encoder) -> dict[str, str]:
    """Returns today's name without prefix -> the file's own name, leaving out the documented extras."""
    names: dict[str, str] = {}
    for stored in stored_names:
        prefix = next((prefix for prefix in encoder.prefixes if stored.startswith(prefix)), "")
        name = stored.removeprefix(prefix)
        for old, new in _OLD_NAMES.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name.startswith(encoder.extras):
            continue
        if name in names:
            raise InputError(f"{path}: expected each array once, found {names[name]} and {stored}, which are the same")
        names[name] = stored
    return names


def _weight_file(folder: Path) -> Path:
    """Returns the weight file; a folder that holds the weights in another form is told how to convert them."""
    if (folder / FILE).is_file():
        return folder / FILE
    others = [*folder.glob("pytorch_model*.bin"), *folder.glob("model-*-of-*.safetensors")]
    # A hub's repository may hold more than was downloaded.
    found, name = (min(others).name, folder) if others else ("none", "NAME")
    load = f"from transformers import AutoModel; m = AutoModel.from_pretrained('{name}')"
    save = f"m.save_pretrained('{folder}', safe_serialization=True, max_shard_size='100GB')"
    raise InputError(
        f"{folder / FILE}: no such file, found {found}; PyTorch's weights are converted, where PyTorch and "
        f'transformers are installed, by: python -c "{load}; {save}"'
    )
