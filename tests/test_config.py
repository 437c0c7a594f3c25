"""The config: every mistake is refused by name, and JSON brings back what was written."""

import dataclasses
import json
import runpy
from pathlib import Path

import pytest

from dtrm_jax.config import Config, from_dict, to_dict, validate
from dtrm_jax.errors import InputError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def set_path(values, path, value):
    *sections, name = path.split(".")
    for section in sections:
        values = values[section]
    values[name] = value


def configured(path, value):
    config = Config()
    *sections, name = path.split(".")
    section = config
    for part in sections:
        section = getattr(section, part)
    assert hasattr(section, name)
    setattr(section, name, value)
    return config


def leaves(values, prefix=""):
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_the_defaults_are_valid_and_the_papers():
    config = validate(Config())
    assert config.tokens.window == 14
    assert (config.model.intra_modal.layers, config.model.intra_modal.heads) == (6, 12)
    assert (config.optimizer.learning_rate, config.optimizer.warmup_steps) == (6e-6, 1200)


@pytest.mark.parametrize("name", ["meld", "iemocap", "avec"])
def test_the_papers_protocol(name):
    """Section 5.1 and 5.2: splits, and everything that trains as the defaults say."""
    config = runpy.run_path(str(CONFIGS[0].parent / f"{name}.py"))["get_config"]()
    paper = Config()
    assert config.data.validation == ("given" if name == "meld" else "random")
    assert config.data.validation_share == 0.1
    assert config.train.select_by == ("pearson_r" if name == "avec" else "weighted_f1")
    config.model.remat, config.model.modalities = paper.model.remat, paper.model.modalities
    assert (config.model, config.optimizer, config.tokens) == (paper.model, paper.optimizer, paper.tokens)


def test_json_brings_back_the_same_config_with_every_leaf_changed():
    values = to_dict(Config())
    for path, value in list(leaves(values)):
        if isinstance(value, bool):
            changed = not value
        elif isinstance(value, str):
            changed = value + "x"
        elif isinstance(value, tuple):
            changed = (*value, 999)
        else:
            changed = value + 3
        set_path(values, path, changed)
    config = from_dict(json.loads(json.dumps(values)))
    assert to_dict(config) == values
    assert config == from_dict(values)
    assert config != Config()
    assert type(config.packing.row_lengths) is tuple


def test_round_trip_of_the_defaults():
    assert validate(from_dict(json.loads(json.dumps(to_dict(Config()))))) == Config()


@pytest.mark.parametrize("path", ["colour", "model.colour", "model.intra_modal.colour"])
def test_unknown_keys_are_refused(path):
    values = to_dict(Config())
    set_path(values, path, 1)
    with pytest.raises(InputError, match=rf"config\.{path}: unknown setting, expected one of "):
        from_dict(values)


@pytest.mark.parametrize("path", ["name", "model.encoder", "data.planted.seed"])
def test_missing_keys_are_refused(path):
    values = to_dict(Config())
    *sections, name = path.split(".")
    section = values
    for part in sections:
        section = section[part]
    del section[name]
    with pytest.raises(InputError, match=rf"config\.{path}: setting is missing"):
        from_dict(values)


@pytest.mark.parametrize(("path", "value"), [("model", 3), ("model.encoder", None), ("data", [])])
def test_a_section_must_be_a_mapping(path, value):
    values = to_dict(Config())
    set_path(values, path, value)
    with pytest.raises(InputError, match=rf"config\.{path}: expected a mapping"):
        from_dict(values)


WRONG_TYPES = [
    ("name", 3),
    ("tokens.window", 14.0),
    ("tokens.window", True),
    ("tokens.window", "14"),
    ("tokens.segments", 1),
    ("tokens.segments", "off"),
    ("optimizer.learning_rate", "6e-6"),
    ("optimizer.learning_rate", True),
    ("optimizer.learning_rate", None),
    ("packing.row_lengths", 64),
    ("packing.row_lengths", (64, 128.0)),
    ("packing.row_lengths", (64, True)),
    ("model.dtype", None),
]


@pytest.mark.parametrize(("path", "value"), WRONG_TYPES)
def test_wrong_types_are_refused(path, value):
    with pytest.raises(InputError, match=rf"^config\.{path}: expected \S+, found "):
        validate(configured(path, value))


@pytest.mark.parametrize(("path", "value"), WRONG_TYPES)
def test_wrong_types_in_json_are_refused(path, value):
    values = to_dict(Config())
    set_path(values, path, value)
    with pytest.raises(InputError, match=rf"^config\.{path}: expected \S+, found "):
        from_dict(json.loads(json.dumps(values)))


def test_a_whole_number_will_do_where_a_real_one_is_expected():
    assert validate(configured("optimizer.weight_decay", 0)).optimizer.weight_decay == 0


@pytest.mark.parametrize(
    "path",
    [
        "data.name",
        "data.validation",
        "model.modalities",
        "model.utterance",
        "model.context.utterance",
        "model.context.acoustic",
        "model.context.visual",
        "model.fusion.kind",
        "model.intra_modal.turn_distance",
        "model.dtype",
        "train.select_by",
    ],
)
def test_choices(path):
    with pytest.raises(InputError, match=rf"config\.{path}: expected one of .*, found 'other'"):
        validate(configured(path, "other"))


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("tokens.window", 0, -1),
        ("tokens.max_length", 3, 2),
        ("packing.tokens", 8, 7),
        ("packing.packs_per_step", 1, 0),
        ("train.epochs", 1, 0),
        ("train.log_every_steps", 1, 0),
        ("train.patience", 0, -1),
        ("data.planted.speakers", 2, 1),
        ("data.planted.speakers", 4, 5),
        ("model.dropout", 0.99, 1.0),
        ("model.encoder.dropout", 0.0, -0.1),
        ("model.encoder.attention_dropout", 0.99, 1.0),
        ("model.intra_modal.dropout", 0.99, 1.5),
        ("model.intra_modal.layers", 0, -1),
        ("model.fusion.sketch", 1, 0),
        ("model.fusion.seed", 0, -1),
        ("train.label_smoothing", 0.5, 1.1),
        ("optimizer.b1", 0.0, 1.0),
        ("optimizer.b2", 0.999, 1.0),
        ("optimizer.learning_rate", 0.0, -1e-6),
        ("optimizer.learning_rate", 1.0, float("nan")),
        ("optimizer.learning_rate", 1.0, float("inf")),
        ("optimizer.gradient_clip", 0.0, -1.0),
    ],
)
def test_ranges(path, good, bad):
    validate(configured(path, good))
    with pytest.raises(InputError, match=rf"config\.{path}: expected a number from .*, found {bad}"):
        validate(configured(path, bad))


@pytest.mark.parametrize("lengths", [(), (7,), (64, 64), (128, 64)])
def test_row_lengths_increase_from_8(lengths):
    with pytest.raises(InputError, match=r"config\.packing\.row_lengths: expected increasing lengths of at least 8"):
        validate(configured("packing.row_lengths", lengths))


@pytest.mark.parametrize("file", CONFIGS, ids=[file.stem for file in CONFIGS])
def test_every_experiment_is_valid_and_bears_its_files_name(file):
    module = runpy.run_path(str(file))
    config = validate(module["get_config"]())
    assert dataclasses.asdict(from_dict(json.loads(json.dumps(to_dict(config))))) == dataclasses.asdict(config)
    assert config is not module["get_config"]()
    assert config.name == file.stem
    assert f"python train.py --config configs/{file.name}" in module["__doc__"]
