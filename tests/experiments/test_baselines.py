"""The table of the models that the paper compares with: one protocol, each model as it was published."""

import pytest

from dtrm_jax.config import Config
from dtrm_jax.experiments import grid, making, tables
from dtrm_jax.experiments.baselines import NAMES
from dtrm_jax.models import ARCHITECTURES, architecture
from dtrm_jax.models.baselines.baseline import Baseline

PUBLISHED, SAME = NAMES
# Settings of which every row has the config's: conversations, splits, features, seeds and selection.
PROTOCOL = (
    "data",
    "tokens.window",
    "tokens.future",
    "model.utterance",
    "model.encoder",
    "train.select_by",
    "train.seed",
)


def configs(name, modalities, corpus="iemocap"):
    rows = tables.table(name, modalities, corpus).rows
    return {row.variant.name: grid.changed(Config(), row.variant.changes) for row in rows}


def value(config, path):
    for part in path.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("modalities", ["u", "ua", "uav"])
@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_row_of_its_own(name, modalities):
    found = configs(name, modalities)
    assert len(found) == len(tables.table(name, modalities).rows)
    predicting = {name for name, model in ARCHITECTURES.items() if issubclass(model, Baseline)} | {"dialogue_trm"}
    assert {config.model.architecture for config in found.values()} == predicting
    for config in found.values():
        architecture(config)
        assert all(value(config, path) == value(Config(), path) for path in PROTOCOL)
        assert config.model.modalities in ("u", modalities)
    different = [config for i, config in enumerate(found.values()) if config not in list(found.values())[:i]]
    assert len(different) == len(found)


def test_a_model_is_trained_as_it_was_published_or_as_all_are():
    for corpus in ("iemocap", "meld"):
        published, same = configs(PUBLISHED, "ua", corpus), configs(SAME, "ua", corpus)
        for name in published.keys() - {"bert", "u", "ua"}:
            one, other = published[name], same[f"{name}-same"]
            model = ARCHITECTURES[one.model.architecture]
            for path, expected in {**model.published[""], **model.published.get(corpus, {})}.items():
                if "forward" not in name:
                    assert value(one, path) == expected
            assert one.model == other.model
            assert (other.optimizer, other.train, other.packing) == (
                Config().optimizer,
                Config().train,
                Config().packing,
            )
    meld = configs(PUBLISHED, "u", "meld")["dialogue-rnn-u"]
    assert (meld.optimizer.learning_rate, meld.model.dialogue_rnn.global_width) == (5e-4, 150)


def test_what_was_not_published_is_not_the_configs():
    config = grid.changed(Config(), {"train.label_smoothing": 0.1, "train.patience": 3, "optimizer.gradient_clip": 1.0})
    rows = {row.variant.name: row for row in tables.table(PUBLISHED, "u", "iemocap").rows}
    for name, expected in {"u": (0.1, 3, 1.0), "c-lstm-u": (0.0, 0, 0.0), "tl-erc-u": (0.0, 10, 1.0)}.items():
        found = grid.changed(config, rows[name].variant.changes)
        assert (found.train.label_smoothing, found.train.patience, found.optimizer.gradient_clip) == expected


def test_vectors_of_a_corpus_are_trained_on_as_was_published_for_it():
    config = Config()
    config.data.name, config.data.corpus, config.model.modalities = "table", "meld", "ua"
    changes = {row.variant.name: row.variant.changes for row in making._table(PUBLISHED, config).rows}
    assert changes["dialogue-rnn-ua"]["model.dialogue_rnn.global_width"] == 150


def test_the_papers_numbers_stand_beside_the_rows_that_they_are_of():
    rows = {row.variant.name: row for row in tables.table(PUBLISHED, "uav", "iemocap").rows}
    assert rows["dialogue-rnn-uav"].paper["iemocap"] == {"test.accuracy": 63.4, "test.weighted_f1": 62.7}
    assert rows["dialogue-rnn-u"].paper["iemocap"] == {"test.weighted_f1": 64.7}
    assert rows["c-lstm-uav"].paper["avec"]["test.per_target.power.pearson_r"] == -0.04
    assert "meld" not in rows["icon-uav"].paper and not rows["c-lstm-forward-u"].paper
    assert rows["dialogue-rnn-uav"].paper_modalities["meld"] == "ua"


def test_what_sees_later_turns_is_not_causal():
    found = configs(PUBLISHED, "ua")
    causal = {name for name, config in found.items() if architecture(config).is_causal(config)}
    assert {"c-lstm-forward-u", "dialogue-rnn-forward-u", "u", "ua", "bert"} <= causal
    assert not {"c-lstm-u", "c-lstm-ua", "dialogue-rnn-u", "dialogue-rnn-ua", "dialogue-gcn-u"} & causal


def test_there_is_no_such_table_without_text():
    assert not tables.table(PUBLISHED, "av").rows
