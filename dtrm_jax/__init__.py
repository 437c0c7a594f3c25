"""DialogueTRM in JAX/Flax: emotion recognition in conversations.

Example:
    >>> import dtrm_jax
    >>> config = dtrm_jax.load_config("demo")
    >>> config.model.modalities
    'uav'

The names below are imported when they are first used, so that ``import dtrm_jax`` is fast and starts no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dtrm_jax.api import build_model, evaluate, train
    from dtrm_jax.config import Config
    from dtrm_jax.config_files import load as load_config
    from dtrm_jax.errors import InputError
    from dtrm_jax.inference.prediction import Prediction
    from dtrm_jax.inference.predictor import Predictor, load
    from dtrm_jax.inference.stream import Stream
    from dtrm_jax.run_directory import RunDirectory

__version__ = "0.3.0"

__all__ = [
    "Config",
    "InputError",
    "Prediction",
    "Predictor",
    "RunDirectory",
    "Stream",
    "build_model",
    "evaluate",
    "load",
    "load_config",
    "train",
]

_PLACES = {
    "Config": ("dtrm_jax.config", "Config"),
    "InputError": ("dtrm_jax.errors", "InputError"),
    "Prediction": ("dtrm_jax.inference.prediction", "Prediction"),
    "Predictor": ("dtrm_jax.inference.predictor", "Predictor"),
    "RunDirectory": ("dtrm_jax.run_directory", "RunDirectory"),
    "Stream": ("dtrm_jax.inference.stream", "Stream"),
    "build_model": ("dtrm_jax.api", "build_model"),
    "evaluate": ("dtrm_jax.api", "evaluate"),
    "load": ("dtrm_jax.inference.predictor", "load"),
    "load_config": ("dtrm_jax.config_files", "load"),
    "train": ("dtrm_jax.api", "train"),
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Lists the public names, whether they have been imported or not."""
    return sorted(set(globals()) | set(__all__))
