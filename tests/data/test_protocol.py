"""The dev split, the targets and the features that an experiment uses of a corpus."""

import dataclasses

import numpy as np
import pytest

from dtrm_jax.config import Config, DataConfig
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data import corpus, protocol
from dtrm_jax.data.readers.avec import VALUES
from dtrm_jax.errors import InputError

LABELS = LabelSpace(("x", "y"))
SIZES = {"utterance": 3, "utterance2": 3, "acoustic": 5}


def conversation(name, features=True):
    turns = tuple(Turn(str(index), "A", "hello", label="x") for index in range(2))
    made = {key: np.full((2, size), number + 1, np.float32) for number, (key, size) in enumerate(SIZES.items())}
    return Conversation(name, turns, made if features else {})


def dataset(train=40, dev=0, test=7, prefix=True, **settings):
    sizes = {"train": train, "dev": dev, "test": test}
    splits = {
        split: tuple(conversation(f"{split if prefix else ''}{index:03}", **settings) for index in range(size))
        for split, size in sizes.items()
        if size
    }
    return Dataset("corpus", LABELS, splits)


def ids(dataset):
    return {split: [c.id for c in conversations] for split, conversations in dataset.splits.items()}


def test_a_tenth_of_the_training_conversations_is_held_out_where_there_is_no_dev_split():
    before = dataset()
    held = ids(protocol.hold_out(before, DataConfig()))
    assert list(held) == ["train", "dev", "test"]
    assert len(held["dev"]) == 4 and len(held["train"]) == 36
    assert sorted(held["train"] + held["dev"]) == ids(before)["train"]
    assert held["test"] == ids(before)["test"]
    assert held["train"] == sorted(held["train"]) and held["dev"] == sorted(held["dev"])
    assert protocol.hold_out(before, DataConfig(validation_seed=3)).notes == (
        "dev: 4 of 40 conversations, drawn with config.data.validation_seed=3",
    )


def test_the_draw_follows_from_the_seed_and_the_ids_alone():
    first = ids(protocol.hold_out(dataset(), DataConfig(validation_seed=0)))
    assert first == ids(protocol.hold_out(dataset(), DataConfig(validation_seed=0)))
    assert first["dev"] != ids(protocol.hold_out(dataset(), DataConfig(validation_seed=1)))["dev"]
    shuffled = dataset()
    shuffled.splits["train"] = shuffled.splits["train"][::-1]
    assert ids(protocol.hold_out(shuffled, DataConfig())) == first


def test_given_keeps_the_datas_own_dev_split_and_random_draws_from_both():
    whole = dataset(train=36, dev=12)
    assert protocol.hold_out(whole, DataConfig()) is whole
    drawn = ids(protocol.hold_out(whole, DataConfig(validation="random", validation_share=0.25)))
    assert len(drawn["dev"]) == 12
    assert sorted(drawn["train"] + drawn["dev"]) == sorted(ids(whole)["train"] + ids(whole)["dev"])
    assert any(name.startswith("train") for name in drawn["dev"]) and drawn["test"] == ids(whole)["test"]


def test_what_cannot_be_drawn_is_one_line():
    with pytest.raises(InputError, match="above 0 of at least two training conversations, found 0.1 of 1"):
        protocol.hold_out(dataset(train=1), DataConfig())
    with pytest.raises(InputError, match="found 0.0 of 40"):
        protocol.hold_out(dataset(), DataConfig(validation_share=0.0))
    with pytest.raises(InputError, match="its train and dev conversations share ids"):
        protocol.hold_out(dataset(dev=3, prefix=False), DataConfig(validation="random"))


def avec():
    turns = (
        Turn("0", "user", "hi", values=(0.1, -0.2, 0.3, 4.0)),
        Turn("1", "operator", "ho", values=(0.5, None, 0.7, 8.0)),
    )
    return Dataset("avec", VALUES, {"train": (Conversation("c", turns),)})


def test_targets_are_chosen_by_name_in_the_given_order():
    assert protocol.choose_targets(avec(), "") == avec()
    chosen = protocol.choose_targets(avec(), " power, arousal")
    assert chosen.labels == ValueSpace(("power", "arousal"))
    assert [turn.values for turn in chosen.splits["train"][0].turns] == [(4.0, -0.2), (8.0, None)]


def test_targets_that_do_not_exist_are_one_line():
    for targets, message in (
        ("valence,joy", "expected some of valence, arousal, expectancy, power, found joy"),
        ("power,power", "expected each emotion once, found power,power"),
    ):
        with pytest.raises(InputError, match=message):
            protocol.choose_targets(avec(), targets)
    with pytest.raises(InputError, match="corpus has classes, not real values"):
        protocol.choose_targets(dataset(), "valence")


def configured(modalities="uav", utterance="encoder", layer=1):
    config = Config()
    config.model.modalities, config.model.utterance, config.data.text_layer = modalities, utterance, layer
    return config


@pytest.mark.parametrize(
    ("modalities", "utterance", "expected"),
    [
        ("u", "encoder", {}),
        ("ua", "encoder", {"acoustic": 3}),
        ("u", "features", {"utterance": 1}),
        ("ua", "features", {"utterance": 1, "acoustic": 3}),
        ("a", "features", {"acoustic": 3}),
    ],
)
def test_only_the_models_features_are_kept_in_the_fixed_order(modalities, utterance, expected):
    chosen = protocol.choose_features(dataset(), configured(modalities, utterance))
    for split in chosen.splits.values():
        for one in split:
            assert list(one.features) == list(expected)
            for name, value in expected.items():
                np.testing.assert_array_equal(one.features[name], np.full((2, SIZES[name]), value))


@pytest.mark.parametrize(("layer", "value"), [(1, 1), (2, 2), (0, 1.5)])
def test_the_text_layer_is_chosen_or_averaged(layer, value):
    chosen = protocol.choose_features(dataset(), configured("u", "features", layer))
    np.testing.assert_array_equal(chosen.splits["train"][0].features["utterance"], np.full((2, 3), value))


def test_features_that_are_not_there_are_one_line():
    with pytest.raises(InputError, match="modalities=uav needs visual features, the data has utterance, utterance2, a"):
        protocol.choose_features(dataset(), configured("uav"))
    with pytest.raises(InputError, match="needs acoustic and visual features, the data has none"):
        protocol.choose_features(dataset(features=False), configured("uav"))
    with pytest.raises(InputError, match="needs utterance features"):
        protocol.choose_features(dataset(), configured("u", "features", 3))


def test_a_text_encoder_needs_text(monkeypatch):
    def silent(one):
        return dataclasses.replace(one, turns=tuple(dataclasses.replace(turn, text="") for turn in one.turns))

    quiet = Dataset("quiet", LABELS, {"train": tuple(map(silent, dataset().splits["train"]))})
    monkeypatch.setattr(corpus, "load", lambda config: quiet)
    with pytest.raises(InputError, match="quiet: config.model.utterance is encoder, but the data has no text"):
        protocol.load(configured("u"))
    assert set(protocol.load(configured("u", "features")).splits) == {"train", "dev"}


def test_common_sense_is_a_feature_of_the_model_that_reads_it():
    config = configured("a", "features")
    config.model.architecture = "cosmic"
    with pytest.raises(
        InputError, match="needs commonsense features, .*, or set config.model.cosmic.commonsense=False$"
    ):
        protocol.choose_features(dataset(), config)
    made = conversation("c")
    made = dataclasses.replace(made, features={**made.features, "commonsense": made.features["acoustic"]})
    there = Dataset("corpus", LABELS, {"train": (made,)})
    assert protocol.choose_features(there, config).feature_sizes() == {"acoustic": 5, "commonsense": 5}
    config.model.cosmic.commonsense = False
    assert protocol.choose_features(there, config).feature_sizes() == {"acoustic": 5}
