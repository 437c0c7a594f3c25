"""Dev scores that are too good to be true."""

import types

import numpy as np

from dtrm_jax.conversation import ValueSpace
from dtrm_jax.tasks import task_of
from dtrm_jax.training import loop
from dtrm_jax.training.suspicion import suspicion
from tests.factories import LABELS, text_only, tiny_config
from tests.runs import tiny_run_config


def experiment(modalities="ua", labels=(0, 1, 2, 0, -1), space=LABELS):
    dev = [text_only((), np.array(labels, np.int32))]
    return types.SimpleNamespace(config=tiny_config(model__modalities=modalities), task=task_of(space), dev=dev)


def test_a_nearly_perfect_score_in_the_first_epochs_is_said_of_models_that_take_features():
    line = suspicion(experiment(), {"weighted_f1": 0.971}, 2)
    assert line.startswith(
        "look at this: dev weighted F1 of 97.10 in epoch 2 is too good to be true; the acoustic feat"
    )
    assert "\n" not in line
    assert not suspicion(experiment(), {"weighted_f1": 0.969}, 1)
    assert not suspicion(experiment(), {"weighted_f1": 0.99}, 3)
    assert not suspicion(experiment("u"), {"weighted_f1": 0.99}, 1)


def test_a_score_that_the_commonest_class_has_by_itself_is_no_reason():
    mostly = experiment(labels=[0] * 98 + [1, 2])
    assert not suspicion(mostly, {"weighted_f1": 0.98}, 1)
    assert suspicion(mostly, {"weighted_f1": 0.995}, 1)


def test_of_real_values_it_is_the_correlation():
    values = experiment(labels=[-1, -1], space=ValueSpace(("valence",)))
    assert "0.98" in suspicion(values, {"pearson_r": 0.981}, 1)
    assert not suspicion(values, {"pearson_r": 0.9}, 1)


def test_training_says_it_once(tmp_path, monkeypatch, capsys, bag_of_words):
    monkeypatch.setattr(loop, "suspicion", lambda _, scores, epoch: "too good" if epoch > 1 else "")
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture = bag_of_words
    loop.train(config, str(tmp_path / "run"))
    said = capsys.readouterr().out.splitlines()
    assert said.count("too good") == 1
    assert said[said.index("too good") - 1].startswith("step ") and "epoch   2" in said[said.index("too good") - 1]
