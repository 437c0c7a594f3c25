"""A second architecture is a class in a file of its own and a line in the registry: nothing above has to change."""

import numpy as np
import pytest

from dtrm_jax import api
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.models import ARCHITECTURES, architecture
from dtrm_jax.run_directory import RunDirectory
from tests.own_model import BagOfWords
from tests.runs import saved_state, tiny_run_config


@pytest.fixture
def config(tmp_path, bag_of_words):
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture = bag_of_words
    config.data.planted.train, config.train.epochs = 60, 6
    config.optimizer.learning_rate, config.optimizer.encoder_learning_rate = 1e-2, 2e-2
    return config


def test_it_trains_is_evaluated_and_reported(config, tmp_path):
    run = api.train(config, tmp_path / "run")
    metrics = api.evaluate(run, split="dev")
    majority = max(row["support"] for row in metrics["per_class"].values()) / metrics["n"]
    assert metrics["accuracy"] > majority
    turns, _ = predictions.read(run.evaluation("dev") / "predictions.csv")
    assert len(turns) == metrics["n"] and turns[0].insides.numbers.keys() == {"words"} and not turns[0].insides.gates
    report = (run.evaluation("dev") / "report.html").read_text(encoding="utf-8")
    assert "bag_of_words: u" in report and "Gates" not in report and '<th scope="col">words</th>' in report


def test_its_parts_learn_at_the_rates_that_it_says(config, tmp_path, monkeypatch):
    config.optimizer.encoder_learning_rate, config.optimizer.weight_decay = 0.0, 0.0
    config.train.epochs = 1

    def trained(name):
        api.train(config, tmp_path / name)
        _, state = saved_state(tmp_path / name)
        return state["['params']['encoder']['embedding']"], state["['params']['output']['kernel']"]

    words, output = trained("as_it_says")
    config.optimizer.learning_rate = 0.0
    initial_words, initial_output = trained("nothing_learns")
    np.testing.assert_array_equal(words, initial_words)
    assert np.abs(output - initial_output).max() > 1e-3
    config.optimizer.learning_rate = 1e-2
    monkeypatch.setattr(BagOfWords, "encoder_parts", frozenset({"output"}))
    words, output = trained("the_other_way_round")
    np.testing.assert_array_equal(output, initial_output)
    assert np.abs(words - initial_words).max() > 1e-3


def test_an_unknown_model_is_refused_before_anything_is_read(config, tmp_path):
    config.model.architecture, config.data.name = "dialogue_cnn", "meld"
    with pytest.raises(InputError, match=r"config\.model\.architecture: expected one of dialogue_trm, .*bag_of"):
        api.train(config, tmp_path / "run")


def test_an_unknown_fusion_is_refused_before_anything_is_read(config):
    config.model.architecture, config.model.fusion.kind = "dialogue_trm", "sum"
    with pytest.raises(InputError, match=r"config\.model\.fusion\.kind: expected one of additive, .*, found 'sum'"):
        architecture(config)


def test_a_run_of_a_model_that_is_not_there_says_so(config, tmp_path, monkeypatch):
    config.train.epochs = 1
    api.train(config, tmp_path / "run")
    monkeypatch.delitem(ARCHITECTURES, "bag_of_words")
    with pytest.raises(InputError, match="expected one of dialogue_trm, .*, found 'bag_of_words'"):
        api.evaluate(RunDirectory(tmp_path / "run"))
