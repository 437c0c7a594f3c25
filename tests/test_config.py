"""The config: every mistake is refused by name, and JSON brings back what was written."""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import get_type_hints

import jax
import pytest

from dtrm_jax import settings
from dtrm_jax.config import Config, TokensConfig, from_dict, to_dict, validate
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.settings import admitted, section
from dtrm_jax.settings import leaves as all_leaves
from dtrm_jax.tasks import METRICS
from dtrm_jax.training.setup import prepare, pure_step

INFINITE = float("inf")

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def set_path(values, path, value):
    *sections, name = path.split(".")
    for part in sections:
        values = values[part]
    values[name] = value


def delete_path(values, path):
    *sections, name = path.split(".")
    for part in sections:
        values = values[part]
    del values[name]


def configured(path, value):
    config = Config()
    *sections, name = path.split(".")
    changed = config
    for part in sections:
        changed = getattr(changed, part)
    assert hasattr(changed, name)
    setattr(changed, name, value)
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
    assert config.train.select_by == ("pearson_r" if name == "avec" else "")
    config.model.remat, config.model.modalities = paper.model.remat, paper.model.modalities
    assert (config.model, config.optimizer, config.tokens) == (paper.model, paper.optimizer, paper.tokens)
    steps = {"meld": 1038, "iemocap": 108, "avec": 57}[name] * config.train.epochs  # a step is a conversation
    assert config.packing.conversations == config.packing.packs_per_step == 1
    assert config.optimizer.warmup(steps) == 1200 and steps >= 4 * 1200


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
    delete_path(values, path)
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


CONTEXT, TYPES = ("dependent", "free"), ("float32", "bfloat16")
# What is admitted, written down a second time: a choice or a bound that vanishes from the config is noticed here.
CHOICES = {
    "data.corpus": ("meld", "iemocap", "avec"),
    "data.validation": ("given", "random"),
    "model.modalities": ("u", "a", "v", "ua", "uv", "av", "uav"),
    "model.utterance": ("encoder", "features"),
    "model.encoder.pooling": ("cls", "mean"),
    "model.encoder.products": TYPES,
    "model.context.utterance": CONTEXT,
    "model.context.acoustic": CONTEXT,
    "model.context.visual": CONTEXT,
    "model.intra_modal.turn_distance": ("none", "learned"),
    "model.dtype": TYPES,
    "model.c_lstm.attention": ("none", "general2"),
    "model.dialogue_rnn.context": ("general", "simple"),
    "model.dialogue_rnn.attention": ("none", "general2"),
    "model.dialogue_rnn.activation": ("relu", "tanh"),
    "model.cosmic.context": ("general2", "simple"),
    "model.cosmic.attention": ("none", "general2"),
    "model.cmn.more_speakers": ("merge", "refuse"),
    "model.icon.more_speakers": ("merge", "refuse"),
    "model.aghmn.fusion": ("bif", "unif"),
    "model.aghmn.summary": ("agru", "biagru"),
    "model.bieru.context": ("local", "global"),
    "model.dialogue_gcn.recurrence": ("lstm", "gru"),
    "model.sdt.gates": ("learned", "fixed"),
    "train.select_by": tuple(METRICS),
}
SEED, MANY, LARGE = (0, 2**31 - 1), (0, 2**31 - 1), (0, 1e38)
SHARE, COUNT, WIDTH = (0, "below 1"), (1, 1000), (1, 2**18)
UNITS, REACH = (1, 2**16), (1, 10**4)  # of the baselines: widths, turns that attention reaches
RANGES = {
    "data.test_session": (0, 5),
    "data.validation_share": SHARE,
    "data.validation_seed": SEED,
    "data.text_layer": (0, 4),
    "data.feature_bound": (0, 1e6),
    "data.planted.train": (0, 10**7),
    "data.planted.dev": (0, 10**7),
    "data.planted.test": (0, 10**7),
    "data.planted.turns": (1, 10**4),
    "data.planted.speakers": (2, 4),
    "data.planted.acoustic": (1, 10**5),
    "data.planted.visual": (1, 10**5),
    "data.planted.seed": SEED,
    "tokens.window": (0, 10**4),
    "tokens.future": (0, 10**4),
    "tokens.max_length": (3, 2**17),
    "packing.tokens": (8, 2**24),
    "packing.utterances": (1, 2**20),
    "packing.conversations": (0, 2**20),
    "packing.packs_per_step": (1, 2**16),
    "model.encoder.hidden_size": (1, 2**16),
    "model.encoder.layers": COUNT,
    "model.encoder.heads": COUNT,
    "model.encoder.intermediate_size": WIDTH,
    "model.encoder.dropout": SHARE,
    "model.encoder.attention_dropout": SHARE,
    "model.encoder.chunks": COUNT,
    "model.intra_modal.layers": (0, 1000),
    "model.intra_modal.heads": COUNT,
    "model.intra_modal.feed_forward": WIDTH,
    "model.intra_modal.dropout": SHARE,
    "model.fusion.layers": COUNT,
    "model.fusion.heads": COUNT,
    "model.fusion.feed_forward": WIDTH,
    "model.fusion.dropout": SHARE,
    "model.fusion.sketch": (1, 2**24),
    "model.fusion.seed": SEED,
    "model.dropout": SHARE,
    "model.c_lstm.layers": (1, 100),
    "model.c_lstm.width": UNITS,
    "model.c_lstm.hidden": UNITS,
    "model.c_lstm.attention_window": REACH,
    "model.c_lstm.dropout": SHARE,
    "model.dialogue_rnn.window": REACH,
    "model.dialogue_rnn.parties": COUNT,
    "model.dialogue_rnn.attention_window": REACH,
    "model.dialogue_rnn.global_width": UNITS,
    "model.dialogue_rnn.party_width": UNITS,
    "model.dialogue_rnn.emotion_width": UNITS,
    "model.dialogue_rnn.hidden": UNITS,
    "model.dialogue_rnn.recurrent_dropout": SHARE,
    "model.dialogue_rnn.state_dropout": SHARE,
    "model.dialogue_rnn.dropout": SHARE,
    "model.cosmic.window": REACH,
    "model.cosmic.parties": COUNT,
    "model.cosmic.attention_window": REACH,
    "model.cosmic.global_width": UNITS,
    "model.cosmic.party_width": UNITS,
    "model.cosmic.emotion_width": UNITS,
    "model.cosmic.hidden": UNITS,
    "model.cosmic.recurrent_dropout": SHARE,
    "model.cosmic.dropout": SHARE,
    "model.cmn.width": UNITS,
    "model.cmn.window": REACH,
    "model.cmn.hops": (1, 100),
    "model.cmn.dropout": SHARE,
    "model.icon.width": UNITS,
    "model.icon.window": REACH,
    "model.icon.hops": (1, 100),
    "model.icon.dropout": SHARE,
    "model.aghmn.width": UNITS,
    "model.aghmn.window": REACH,
    "model.aghmn.hops": (1, 100),
    "model.aghmn.dropout": SHARE,
    "model.tl_erc.width": UNITS,
    "model.tl_erc.dropout": SHARE,
    "model.tl_erc.embedding": UNITS,
    "model.tl_erc.tokens": (1, 2**17),
    "model.bieru.width": UNITS,
    "model.bieru.tensor_dropout": SHARE,
    "model.bieru.dropout": SHARE,
    "model.dialogue_gcn.context_layers": (1, 100),
    "model.dialogue_gcn.width": UNITS,
    "model.dialogue_gcn.past": (0, 10**4),
    "model.dialogue_gcn.future": (0, 10**4),
    "model.dialogue_gcn.speakers": (1, 100),
    "model.dialogue_gcn.bases": COUNT,
    "model.dialogue_gcn.hidden": UNITS,
    "model.dialogue_gcn.attention_window": REACH,
    "model.dialogue_gcn.dropout": SHARE,
    "model.mmgcn.context_layers": (1, 100),
    "model.mmgcn.width": UNITS,
    "model.mmgcn.speaker_width": UNITS,
    "model.mmgcn.speakers": (1, 100),
    "model.mmgcn.hidden": UNITS,
    "model.mmgcn.layers": COUNT,
    "model.mmgcn.alpha": (0, 1),
    "model.mmgcn.eta": (0, 100),
    "model.mmgcn.cross_modal": (0, 100),
    "model.mmgcn.window": REACH,
    "model.mmgcn.dropout": SHARE,
    "model.sdt.width": UNITS,
    "model.sdt.heads": COUNT,
    "model.sdt.speakers": (1, 100),
    "model.sdt.window": REACH,
    "model.sdt.student_weight": (0, 1000),
    "model.sdt.distillation_weight": (0, 1000),
    "model.sdt.temperature": (0.001, 1000),
    "model.sdt.dropout": SHARE,
    "model.dag_erc.layers": (1, 100),
    "model.dag_erc.width": UNITS,
    "model.dag_erc.same_speaker": REACH,
    "model.dag_erc.window": REACH,
    "model.dag_erc.dropout": SHARE,
    "optimizer.encoder_learning_rate": LARGE,
    "optimizer.learning_rate": LARGE,
    "optimizer.b1": SHARE,
    "optimizer.b2": SHARE,
    "optimizer.eps": (0, 1),
    "optimizer.weight_decay": LARGE,
    "optimizer.warmup_steps": MANY,
    "optimizer.gradient_clip": LARGE,
    "train.epochs": (1, 10**6),
    "train.seed": SEED,
    "train.class_balance": (0, 1),
    "train.label_smoothing": SHARE,
    "train.evaluate_every_steps": MANY,
    "train.save_every_steps": MANY,
    "train.skip_nonfinite_steps": MANY,
    "train.log_every_steps": (1, 2**31 - 1),
    "train.patience": MANY,
}
# Texts that may be anything, or that name a part of the project and are checked where that part is looked up.
FREE_TEXTS = {
    "name",
    "data.name",
    "data.source",
    "data.neutral",
    "data.cache",
    "data.columns",
    "data.labels",
    "data.targets",
    "model.architecture",
    "model.encoder.pretrained",
    "model.fusion.kind",
    "train.init_from",
    "train.loggers",
}
SETTINGS = {path: (hint, admitted(field)) for path, hint, field, _ in all_leaves(Config())}
NUMBERS = [path for path, (hint, _) in SETTINGS.items() if hint in (int, float)]


def test_a_setting_that_a_config_file_misspells_is_refused():
    config = Config()
    config.data.planted.trian = 3
    with pytest.raises(InputError) as caught:
        validate(config)
    assert str(caught.value) == ("config.data.planted.trian: no such setting; did you mean config.data.planted.train?")


@pytest.mark.parametrize(
    ("found", "proposed"),
    [
        ("train.epoch", "train.epochs"),
        ("trian.epochs", "train.epochs"),
        ("epochs", "train.epochs"),
        ("turns", "data.planted.turns"),
        ("model.fuse.dropout", "model.fusion.dropout"),
        ("learning_rate", "optimizer.learning_rate"),
        ("zzz", ""),
    ],
)
def test_the_nearest_setting_is_proposed(found, proposed):
    expected = f"; did you mean --{proposed}?" if proposed else ""
    assert settings.nearest_setting(found, Config(), "--") == expected


def test_every_text_has_its_choices_or_is_known_to_be_free():
    found = {path: tuple(one.choices) for path, (hint, one) in SETTINGS.items() if hint is str}
    assert {path: choices for path, choices in found.items() if choices} == CHOICES
    assert {path for path, choices in found.items() if not choices} == FREE_TEXTS


def test_every_number_has_both_its_ends():
    found = {}
    for path in NUMBERS:
        one = SETTINGS[path][1]
        found[path] = (one.low, "below 1" if one.below == 1 else one.high)
        assert one.below in (1, INFINITE)
    assert found == RANGES


@pytest.mark.parametrize("limits", [{}, {"low": 0}, {"high": 1}, {"below": 1}, {"low": 0, "high": INFINITE}])
def test_a_number_without_both_ends_cannot_be_declared(limits):
    for default in (1, 0.5, (1, 2)):
        with pytest.raises(TypeError, match="both ends"):
            settings.setting(default, **limits)
    settings.setting(True, **limits)


@pytest.mark.parametrize("path", CHOICES)
def test_choices(path):
    for choice in CHOICES[path]:
        validate(configured(path, choice))
    with pytest.raises(InputError, match=rf"config\.{path}: expected one of {', '.join(CHOICES[path])}, found 'other'"):
        validate(configured(path, "other"))


@pytest.mark.parametrize("path", NUMBERS)
def test_ranges(path):
    hint, (low, high) = SETTINGS[path][0], RANGES[path]
    for good in (low, 0.999 if high == "below 1" else high):
        validate(configured(path, hint(good)))
    bad = [low - 1] if hint is int else [low - 1e-6, float("nan"), INFINITE]
    bad += [1.0, 1.5] if high == "below 1" else [high * 2 if hint is float else high + 1]
    for value in bad:
        with pytest.raises(InputError, match=r"^config\.\S+: expected a number from ") as caught:
            validate(configured(path, hint(value)))
        assert str(caught.value) == f"config.{path}: expected a number from {low} to {high}, found {hint(value)}"


# Where counters, array sizes and floats of 32 and 64 bits end.
EXTREMES = (0, -1, 2**31, 2**63, 1e38, float("nan"), INFINITE, -INFINITE)


@pytest.mark.parametrize("path", NUMBERS)
def test_extreme_numbers_are_refused_or_prepared(path):
    """Whatever passes the bounds also gives data, a model and an optimizer, or one line."""
    hint = SETTINGS[path][0]
    for value in EXTREMES:
        if hint is int and isinstance(value, float):
            continue  # of the wrong type, which other tests refuse
        try:
            config = validate(configured(path, hint(value)))
        except InputError:
            continue
        for name, size in (("train", 2), ("dev", 1), ("test", 1), ("turns", 3)):
            if path != f"data.planted.{name}":
                setattr(config.data.planted, name, size)
        try:
            shapes_of(config)
        except InputError as error:
            assert "\n" not in str(error)


PARAMETERS = {}  # their shapes, by the model's settings


def shapes_of(config):
    """Prepares training as far as nothing is computed."""
    config.data.name, config.model.modalities, config.model.encoder.pretrained = "planted", "ua", ""
    config.model.encoder.layers = min(config.model.encoder.layers, 2)
    experiment = prepare(config)
    optimizer, _ = pure_step(experiment)
    model, pack = experiment.model(experiment.manifest.shape), build_pack([], experiment.manifest.shape)
    key = jax.random.key(config.train.seed)
    known = repr((config.model, config.tokens, experiment.manifest.shape))
    if known not in PARAMETERS:  # most settings are not the model's
        PARAMETERS[known] = jax.eval_shape(
            lambda: model.init({"params": key, "dropout": key}, pack, deterministic=False)["params"]
        )
    jax.eval_shape(optimizer.init, PARAMETERS[known])


def came_later(kind, prefix=""):
    """Yields the paths of the settings, and of the sections, that files of older versions lack."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        path = prefix + field.name
        if field.metadata.get("since"):
            yield path
        if dataclasses.is_dataclass(hints[field.name]):
            yield from came_later(hints[field.name], path + ".")


LATER = tuple(came_later(Config))
# What older versions did, where that is not the default.
DONE_BEFORE = {"data.feature_bound": 0.0}


def as_before(*paths):
    """Returns a config whose settings at the paths are as they were before there were these settings."""
    values = to_dict(Config())
    for path in paths:
        if path in DONE_BEFORE:
            set_path(values, path, DONE_BEFORE[path])
    return from_dict(values)


@pytest.mark.parametrize("path", LATER)
def test_a_file_of_an_older_version_means_what_it_meant_then(path):
    values = to_dict(Config())
    delete_path(values, path)
    assert from_dict(values) == as_before(path)


def test_a_file_of_the_first_version_lacks_all_that_came_later():
    assert {"data.neutral", "model.architecture", "model.encoder.segment_embedding"} <= set(LATER)
    values = to_dict(Config())
    for path in sorted(LATER, key=len, reverse=True):  # what a section holds before the section
        delete_path(values, path)
    assert from_dict(values) == as_before(*LATER)
    assert {path for path in DONE_BEFORE if as_before(path) != Config()} == set(DONE_BEFORE)


def test_a_section_may_have_come_later_as_well():
    @dataclasses.dataclass(kw_only=True)
    class Newer:
        tokens: TokensConfig = section(TokensConfig, since="0.2.0")

    assert [path for path in came_later(Newer) if "." not in path] == ["tokens"]
    assert settings.from_dict({}, Newer) == Newer()


@pytest.mark.parametrize("lengths", [(), (7,), (64, 64), (128, 64), (64, 2**31)])
def test_row_lengths_increase_between_their_ends(lengths):
    with pytest.raises(InputError, match=r"config\.packing\.row_lengths: expected increasing lengths from 8 to 131072"):
        validate(configured("packing.row_lengths", lengths))


@pytest.mark.parametrize("file", CONFIGS, ids=[file.stem for file in CONFIGS])
def test_every_experiment_is_valid_and_bears_its_files_name(file):
    module = runpy.run_path(str(file))
    config = validate(module["get_config"]())
    assert dataclasses.asdict(from_dict(json.loads(json.dumps(to_dict(config))))) == dataclasses.asdict(config)
    assert config is not module["get_config"]()
    assert config.name == file.stem
    assert f"python train.py --config configs/{file.name}" in module["__doc__"]


def test_the_last_checkpoint_is_not_for_early_stopping():
    config = Config()
    config.train.select_last = True
    assert validate(config).train.ranked_by == ""
    config.train.patience = 3
    with pytest.raises(
        InputError, match=r"^config\.train\.patience: expected 0, as config\.train\.select_last .* found 3"
    ):
        validate(config)
