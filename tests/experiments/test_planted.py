"""The planted table: settings, resuming, and what stands beside the optimum."""

import json

import pytest

from dtrm_jax.config import Config
from dtrm_jax.data import builders
from dtrm_jax.data.planted_optimum import optimal_accuracy
from dtrm_jax.errors import InputError
from dtrm_jax.experiments import grid, planted
from dtrm_jax.experiments.planted import SETTINGS
from dtrm_jax.training import loop
from tests.runs import tiny_run_config


@pytest.fixture
def config(tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    config.model.fusion.layers, config.model.fusion.heads, config.model.fusion.feed_forward = 1, 2, 24
    config.train.epochs, config.train.save_every_steps = 1, 0
    return config


def test_a_table_of_two_settings_and_two_seeds(config, tmp_path, monkeypatch, capsys):
    trained = []
    train = loop.train
    monkeypatch.setattr(loop, "train", lambda c, folder: trained.append((c.train.seed, folder)) or train(c, folder))
    folder = tmp_path / "runs"
    table = planted.run(config, 2, ["all-max", "text"], folder)
    assert [seed for seed, _ in trained] == [0, 1, 0, 1]
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}-seed{seed}" for name in ("text", "all-max") for seed in (0, 1)),
        "table.json",
    }
    result = json.loads((folder / "table.json").read_text())
    assert [row["setting"] for row in result["rows"]] == ["text", "all-max"]
    test = builders.load(config.data).splits["test"]
    for row in result["rows"]:
        (information,) = [information for setting, information in SETTINGS if setting.name == row["setting"]]
        assert row["optimum"] == optimal_accuracy(test, config.data.planted, information).accuracy
        assert len(row["accuracy"]) == 2
        metrics = [
            json.loads((folder / f"{row['setting']}-seed{s}/eval/test/metrics.json").read_text()) for s in (0, 1)
        ]
        assert row["accuracy"] == [one["accuracy"] for one in metrics]
    assert "text (DialogueTRM-U)" in table and "all, max-pooling fusion" in table and "2 seeds" in table
    assert max(map(len, table.splitlines())) <= 80
    # Again: everything is there, nothing is trained.
    assert planted.run(config, 2, ["text", "all-max"], folder) == table
    assert len(trained) == 4
    # Other settings are no longer the same run.
    config.train.epochs = 2
    with pytest.raises(InputError, match=r"the run begun here differs: train\.epochs was 1, is 2"):
        planted.run(config, 1, ["text"], folder)


def test_each_setting_is_what_its_name_says():
    made = {setting.name: grid.changed(Config(), setting.changes) for setting, _ in SETTINGS}
    information = {setting.name: information for setting, information in SETTINGS}
    assert len(made) == len(SETTINGS) == 9
    for name, config in made.items():
        assert config.model.modalities == information[name].modalities
        assert config.tokens.indi_context == information[name].context == (name != "text-free")
        assert config.model.context.utterance == ("free" if name == "text-free" else "dependent")
        assert (config.model.context.acoustic == "dependent") == information[name].past_features
        assert config.model.fusion.kind == (name[4:] if name[4:] in ("additive", "concat", "max") else "mgif")


def test_what_cannot_be_run_is_one_line(config, tmp_path):
    with pytest.raises(InputError, match="--only: expected some of text-free, text, .*, found everything"):
        planted.run(config, 1, ["everything"], tmp_path)
    config.data.planted.test = 0
    with pytest.raises(InputError, match="planted.test: expected at least 1"):
        planted.run(config, 1, [], tmp_path)
    config.data.name = "meld"
    with pytest.raises(InputError, match="data.name: expected planted, whose optimum is known, found meld"):
        planted.run(config, 1, [], tmp_path)
    with pytest.raises(InputError, match="config.model.heads: unknown setting"):
        grid.changed(Config(), {"model.heads": 3})
    with pytest.raises(InputError, match="config.model.fusion.kind: expected one of"):
        grid.changed(Config(), {"model.fusion.kind": "other"})


def test_mean_and_deviation_of_a_sample():
    assert grid.mean_and_deviation([0.5]) == "50.0"
    assert grid.mean_and_deviation([0.71, 0.72, 0.76]) == "73.0 ± 2.6"
