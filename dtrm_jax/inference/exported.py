"""A trained model as a folder to share: safetensors and JSON, as on the Hugging Face hub.

    config.json                the settings, the emotions, the encoder's sizes, the type of the weights, the step
    model.safetensors          the parameters; names are paths in the tree, joined by dots
    normalization.safetensors  mean and standard deviation of the features that the model takes, if any, and their bound
    tokenizer.json             the tokenizer, in the format of Hugging Face tokenizers, if text is encoded
    SHA256SUMS                 of the files above; older folders have none
    README.md                  the model card (``dtrm_jax.sharing``), which is not read

A folder may come from anyone. Nothing in it is executed, no link leads out of it, and every array is expected.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors.numpy

from dtrm_jax import checksums, tensor_file
from dtrm_jax import config as config_lib
from dtrm_jax.config import Config
from dtrm_jax.data.encoder_tokenizer import load_tokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.inference.places import without_places
from dtrm_jax.inference.trained import Trained
from dtrm_jax.json_file import read_json, read_object, write_json
from dtrm_jax.models import build_model
from dtrm_jax.models.encoders import hub
from dtrm_jax.replacing import naming
from dtrm_jax.run_directory import Manifest

CONFIG, WEIGHTS, STATISTICS, TOKENIZER = _READ = (
    "config.json",
    "model.safetensors",
    "normalization.safetensors",
    "tokenizer.json",
)
DTYPES = {"float32": "F32", "float16": "F16"}

_BOUND = "bound"  # of the features, in the file of statistics
_MODEL_TYPE = "dtrm_jax"
_FORMAT = 1
_FOLDER = f"a folder that dtrm-export has written, with {CONFIG} and {WEIGHTS}"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# What a file of another kind may at most have; weights are checked against the model before they are read.
_LARGEST = {CONFIG: 1 << 24, TOKENIZER: 1 << 29, checksums.FILE: 1 << 16}
# Bounds on what is built before any array is read, far above what has been trained; settings have bounds of their own.
_MOST_SLOTS = 1 << 24
_MOST_LAYERS = 1000


def is_exported(folder: Path) -> bool:
    """Whether a folder is a model to share, and not a run directory.

    Raises:
        InputError: Its ``config.json`` is too large for either, or damaged.
    """
    file = folder / CONFIG
    if not file.is_file():
        return False
    _check_bytes(file)
    values = read_json(file, _FOLDER)
    return isinstance(values, dict) and "model_type" in values


def download(name: str) -> Path | None:
    """Returns the folder of a model on the Hugging Face hub, which is downloaded once into the hub's own cache.

    Args:
        name: ``owner/name``.

    Returns:
        The folder; None if this is no name on the hub.

    Raises:
        InputError: The hub does not have it, or is out of reach.
    """
    if not _HUB_NAME.fullmatch(name):
        return None
    return hub.download(name, (*_READ, checksums.FILE), what="model", otherwise=f"a run directory, or {_FOLDER}")


def write(trained: Trained, folder: Path, dtype: str) -> None:
    """Writes the files of a model, without the card, into an existing folder.

    Args:
        trained: The model.
        folder: Where to.
        dtype: One of ``DTYPES``: the type of the stored parameters. They are float32 again when they are read.

    Raises:
        InputError: The parameters are not float32, or some do not fit into the type.
    """
    trained = without_places(trained)
    params = flax.traverse_util.flatten_dict(trained.params, sep=".")
    arrays = {name: _stored(name, np.asarray(value), dtype) for name, value in params.items()}
    with naming(folder / WEIGHTS):
        safetensors.numpy.save_file(arrays, folder / WEIGHTS, metadata={"format": "flax"})
    if trained.normalization.sizes:
        with naming(folder / STATISTICS):
            safetensors.numpy.save_file(_statistics(trained.normalization), folder / STATISTICS)
    if trained.tokenizer is not None:
        trained.tokenizer.save(folder / TOKENIZER)
    values = {
        "model_type": _MODEL_TYPE,
        "format": _FORMAT,
        "dtype": dtype,
        "step": trained.step,
        "run": trained.manifest.to_dict(),
        "settings": config_lib.to_dict(trained.config),
    }
    write_json(folder / CONFIG, values)
    for name in (WEIGHTS, STATISTICS):  # which safetensors writes for their owner alone
        if (folder / name).exists():
            shutil.copymode(folder / CONFIG, folder / name)
    checksums.write(folder, [name for name in _READ if (folder / name).exists()])


def read(folder: Path) -> Trained:
    """Reads what ``write`` wrote.

    Raises:
        InputError: A file is missing, damaged or a link to somewhere else, or the arrays are not those of the model
            that ``config.json`` describes; names the file and the array.
    """
    path = _file(folder, CONFIG)
    _check_content(path)
    values = _header(path)
    config, manifest = _config(path, values["settings"]), _manifest(path, values["run"])
    _check_sizes(path, config, manifest)
    normalization = _read_statistics(folder, dict(manifest.shape.features), config.data.feature_bound)
    params = _read_params(_file(folder, WEIGHTS), _shapes(path, config, manifest), values["dtype"])
    tokenizer = None
    if config.model.reads_text:
        _check_content(_file(folder, TOKENIZER))
        tokenizer = load_tokenizer(folder, manifest.encoder.special, manifest.encoder.vocab_size)
    return Trained(
        name=config.name,
        config=config,
        manifest=manifest,
        tokenizer=tokenizer,
        normalization=normalization,
        params=params,
        step=values["step"],
    )


def rounded(params: Any, dtype: str) -> Any:
    """Returns parameters as they are read again after they were stored in a type."""
    return jax.tree.map(lambda x: x.astype(dtype).astype(x.dtype), params)


def _stored(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    if array.dtype != np.float32:
        raise InputError(f"parameter {name}: expected float32, found {array.dtype}, which is not exported")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(array.astype(dtype))
    if not np.isfinite(stored).all() and np.isfinite(array).all():
        raise InputError(f"parameter {name}: expected numbers that {dtype} can hold, found {np.abs(array).max():g}")
    return stored


def _statistics(normalization: Normalization) -> dict[str, np.ndarray]:
    kinds = {"mean": normalization.mean, "std": normalization.std}
    bound = {_BOUND: np.float32([normalization.bound])} if normalization.bound else {}
    return {f"{name}.{kind}": values[name] for kind, values in kinds.items() for name in values} | bound


def _file(folder: Path, name: str) -> Path:
    """Returns a file of the folder, after checking that it is one."""
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected {_FOLDER}")
    home = folder.resolve()
    # The hub's own cache keeps files beside the snapshots of a repository, which hold links to them.
    homes = (home, home.parent.parent / "blobs") if home.parent.name == "snapshots" else (home,)
    real = path.resolve()
    if not any(real.is_relative_to(one) for one in homes):
        raise InputError(f"{path}: expected a file of this folder, found a link to {real}")
    _check_bytes(path)
    return path


def _check_bytes(path: Path) -> None:
    size, largest = path.stat().st_size, _LARGEST.get(path.name)
    if largest is not None and size > largest:
        raise InputError(f"{path}: expected at most {largest} bytes, found {size}")


def _check_content(path: Path) -> None:
    """Checks that a file is the one that was exported; of a folder without sums, any is."""
    folder = path.parent
    if not os.path.lexists(folder / checksums.FILE):
        return
    _file(folder, checksums.FILE)
    if problem := checksums.problem(folder, [path.name]):
        raise InputError(f"{problem}; if it was changed on purpose, delete {folder / checksums.FILE}")


def _header(path: Path) -> dict[str, Any]:
    """Reads ``config.json`` and checks all of it but the settings and the run's facts."""
    values = read_object(path, _FOLDER)
    expected = {
        "model_type": (values.get("model_type") == _MODEL_TYPE, repr(_MODEL_TYPE)),
        "format": (values.get("format") == _FORMAT, f"{_FORMAT}, which this version of dtrm_jax reads"),
        "dtype": (values.get("dtype") in tuple(DTYPES), f"one of {', '.join(DTYPES)}"),
        "step": (type(values.get("step")) is int and values["step"] >= 0, "a whole number of at least 0"),
        "settings": (isinstance(values.get("settings"), dict), "an object"),
        "run": (isinstance(values.get("run"), dict), "an object"),
    }
    for name, (good, words) in expected.items():
        if not good:
            raise InputError(f"{path}: {name}: expected {words}, found {_shown(values.get(name))}")
    return values


def _config(path: Path, values: Any) -> Config:
    try:
        return config_lib.validate(config_lib.from_dict(values))
    except InputError as error:
        raise InputError(f"{path}: settings: {error}") from error


def _manifest(path: Path, values: Any) -> Manifest:
    try:
        return Manifest.from_dict(values)
    except Exception as error:  # whatever JSON there is in its place
        raise InputError(f"{path}: run: not the facts of a run: {_shown(repr(error))}") from error


def _check_sizes(path: Path, config: Config, manifest: Manifest) -> None:
    """Checks what a model is built from before it is built, which takes memory and time."""
    shape, encoder = manifest.shape, manifest.encoder
    if config.model.reads_text and encoder is None:
        raise InputError(f"{path}: run: expected an encoder for a model that reads text, found none")
    features = [size for _, size in shape.features]
    numbers = [*(number for row in shape.rows for number in row), *features]
    numbers += [shape.utterances, shape.values, shape.own_tokens]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise InputError(f"{path}: run: shape: expected whole numbers of at least 0, found others among them")
    slots = max(shape.tokens, shape.utterances * (1 + sum(features) + shape.values))
    if slots > _MOST_SLOTS:
        raise InputError(f"{path}: run: shape: expected packs of at most {_MOST_SLOTS} slots, found {slots}")
    if encoder is not None and not (type(encoder.layers) is int and encoder.layers <= _MOST_LAYERS):
        raise InputError(f"{path}: run: encoder: layers: expected at most {_MOST_LAYERS}, found {encoder.layers!r:.50}")


def _shapes(path: Path, config: Config, manifest: Manifest) -> Mapping[str, Any]:
    """Returns the model's parameter tree with shapes for leaves."""
    try:
        return parameter_shapes(build_model(config, manifest.encoder, len(manifest.labels), manifest.shape))
    except Exception as error:  # sizes that do not fit each other fail anywhere
        raise InputError(f"{path}: describes no model that can be built: {_shown(str(error))}") from error


def _read_params(path: Path, shapes: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Reads the parameters onto the first local device."""
    paths = {".".join(keys): keys for keys in flax.traverse_util.flatten_dict(shapes)}
    expected = {name: leaf.shape for name, leaf in flax.traverse_util.flatten_dict(shapes, sep=".").items()}
    arrays = _read_arrays(path, expected, holds=f"the model of {CONFIG}", types=(DTYPES[dtype],))
    tree = flax.traverse_util.unflatten_dict({paths[name]: array.astype(np.float32) for name, array in arrays.items()})
    return jax.device_put(tree, jax.local_devices()[0])


def _read_statistics(folder: Path, sizes: Mapping[str, int], bound: float) -> Normalization:
    if not sizes:
        return Normalization({}, {}, bound)
    expected = {f"{name}.{kind}": (size,) for name, size in sizes.items() for kind in ("mean", "std")}
    expected |= {_BOUND: (1,)} if bound else {}
    holds = f"the statistics of the features of {CONFIG}"
    path = _file(folder, STATISTICS)
    arrays = _read_arrays(path, expected, holds=holds, types=("F32",))
    if bound and not arrays[_BOUND][0] > 0:
        raise InputError(f"{path}: {_BOUND}: expected a number above 0, found {arrays[_BOUND][0]:g}")
    mean, std = ({name: arrays[f"{name}.{kind}"] for name in sizes} for kind in ("mean", "std"))
    return Normalization(mean, std, float(arrays[_BOUND][0]) if bound else 0.0)


def _read_arrays(
    path: Path, expected: Mapping[str, tuple[int, ...]], *, holds: str, types: tuple[str, ...]
) -> dict[str, np.ndarray]:
    with tensor_file.opened(path) as file:
        tensor_file.check(path, file, {name: name for name in file.keys()}, expected, holds=holds, types=types)
        _check_content(path)  # which takes time: before, the file might have been of any size
        return {name: tensor_file.finite(path, name, file.get_tensor(name)) for name in expected}


def _shown(value: Any) -> str:
    """Returns what was found as the part of a line."""
    text = value if isinstance(value, str) else "nothing" if value is None else repr(value)
    return " ".join(text.split())[:200]
