"""``eval.py``'s work: from a run directory alone, every labelled utterance scored exactly once."""

import csv
import itertools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from dtrm_jax.data import corpus
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.analyse import analyse
from dtrm_jax.evaluation.files import predictions as prediction_files
from dtrm_jax.evaluation.intermediates import inspect_conversation
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.evaluation.terminal import format_evaluation
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.models.layers import neighbours
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.training import loop
from tests.runs import tiny_run_config
from tests.trained import random_run


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("run")
    loop.train(tiny_run_config(cache), str(workdir))
    return workdir


def test_a_moved_run_is_evaluated_and_every_turn_is_scored_once(trained, cache, tmp_path):
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(trained, moved)
    metrics = evaluate_run(RunDirectory(moved)).metrics
    split = corpus.load(tiny_run_config(cache).data).splits["test"]
    with open(moved / "eval/test/predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    turns = [(conversation.id, turn.id) for conversation in split for turn in conversation.turns]
    assert [(row["conversation"], row["turn"]) for row in rows] == turns
    assert metrics["n"] == len(turns)
    assert json.loads((moved / "eval/test/metrics.json").read_text())["weighted_f1"] == metrics["weighted_f1"]
    labels, predictions = ([row[name] for row in rows] for name in ("label", "prediction"))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    assert metrics["weighted_f1"] == pytest.approx(f1_score(labels, predictions, average="weighted"))
    probabilities = np.asarray([[float(row[key]) for key in row if key.startswith("p_")] for row in rows])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_an_evaluation_leaves_its_analysis(trained):
    found = evaluate_run(RunDirectory(trained))
    metrics = found.metrics
    folder = trained / "eval/test"
    files = {"predictions.csv", "metrics.json", "analysis.json"}
    assert {file.name for file in folder.iterdir()} == files
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    assert found.folder == folder and analysis == found.analysis == analyse(
        *prediction_files.read(folder / "predictions.csv")
    )
    assert analysis["n"] == metrics["n"] and analysis["conversations"] == 7
    for name in ("accuracy", "weighted_f1"):
        assert analysis["shifts"]["all"][name] == metrics[name]
    for name in ("accuracy", "weighted_f1", "macro_f1"):
        assert analysis["intervals"][name]["value"] == pytest.approx(metrics[name])
    assert analysis["calibration"]["negative_log_likelihood"] == pytest.approx(metrics["loss"], abs=1e-6)


def test_the_turns_that_attention_looks_at_are_those_of_the_model(trained, monkeypatch):
    run = RunDirectory(trained)
    evaluate_run(run)
    turns, _ = prediction_files.read(run.evaluation("test") / "predictions.csv")
    name = turns[-1].conversation
    turns = [turn for turn in turns if turn.conversation == name]
    monkeypatch.setattr(neighbours, "_block_size", lambda reach: 1000)  # dense: all turns in one block
    inside = inspect_conversation(run, "test", name)
    (weights_HxLxL,) = inside["intra_modal/transformer/layer_0/attention/weights"]
    for index, turn in enumerate(turns):
        weights_L = weights_HxLxL[:, index, : len(turns)].mean(axis=0)
        attended = turn.insides.attended["u"]
        assert attended.itself == pytest.approx(weights_L[index], abs=1e-5)
        assert not weights_L[: max(0, index - 3)].any() and not weights_L[index + 1 :].any()
        if index:
            assert attended.turn == turns[int(weights_L[:index].argmax())].turn
            assert attended.weight == pytest.approx(weights_L[:index].max(), abs=1e-5)
        else:
            assert attended.turn is None
    assert turn.insides.gates == turn.insides.fusion == {}


def test_dev_scores_are_those_of_training(trained):
    dev = {record["step"]: record for record in read_records(trained / "metrics.jsonl") if record["split"] == "dev"}
    for checkpoint in ("best", "latest"):
        metrics = evaluate_run(RunDirectory(trained), split="dev", checkpoint=checkpoint).metrics
        logged = dev[metrics["step"]]
        for name in ("accuracy", "weighted_f1", "macro_f1", "n"):
            assert metrics[name] == logged[name]
        assert metrics["loss"] == pytest.approx(logged["loss"], abs=1e-6)


def test_a_dev_split_that_is_drawn_anew_is_said(cache, tmp_path):
    def write(talks: int) -> str:
        rows = "".join(f"{talk},{turn},Ann,w{turn},{'ab'[turn % 2]}\n" for talk in range(talks) for turn in range(3))
        (tmp_path / f"{talks}.csv").write_text("conversation,turn,speaker,text,label\n" + rows)
        return str(tmp_path / f"{talks}.csv")

    config = tiny_run_config(cache)
    config.data.name, config.data.source, config.model.modalities = "table", write(8), "u"
    run = random_run(config, tmp_path / "run")
    assert not [note for note in evaluate_run(run, split="dev").notes if "drawn anew" in note]
    found = evaluate_run(run, split="dev", source=write(9)).notes
    assert found == ("dev was drawn anew from 9.csv: it may hold conversations that the run was trained on",)


@pytest.fixture
def two_checkpoints(cache, tmp_path) -> RunDirectory:
    run = random_run(tiny_run_config(cache), tmp_path / "run")
    select_by = run.read_config().train.select_by
    checkpoints = run.checkpoints(select_by)
    trained = read_trained(run)
    checkpoints.save(9, {"params": jax.tree.map(lambda x: -3 * x, trained.params)}, {}, {select_by: 0.1})
    checkpoints.close()
    return run


def test_results_of_another_checkpoint_give_way_with_a_word(two_checkpoints):
    assert evaluate_run(two_checkpoints).notes == evaluate_run(two_checkpoints).notes == ()
    (note,) = evaluate_run(two_checkpoints, checkpoint="latest").notes
    assert note == f"{two_checkpoints.evaluation('test')}: the results of step 9 replace those of step 7"
    file = two_checkpoints.evaluation("test") / "metrics.json"
    file.write_text("[1]")
    (note,) = evaluate_run(two_checkpoints).notes
    assert note.endswith(": the results of step 7 replace those of others")
    assert json.loads(file.read_text())["step"] == 7


def test_an_evaluation_that_was_cut_off_is_none(two_checkpoints, monkeypatch):
    evaluate_run(two_checkpoints)

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("dtrm_jax.evaluation.run.analyse", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(two_checkpoints, checkpoint="latest")
    with pytest.raises(InputError, match=r"eval.test.metrics\.json: expected the results of an evaluation"):
        write_report(two_checkpoints, "test")


def test_what_is_not_there_is_one_line(trained, cache, tmp_path):
    run = RunDirectory(trained)
    with pytest.raises(InputError, match="expected the checkpoint '999'"):
        evaluate_run(run, checkpoint="999")
    with pytest.raises(InputError, match="expected a split of train, dev, test, found 'validation'"):
        evaluate_run(run, split="validation")
    with pytest.raises(InputError, match="expected a run directory"):
        evaluate_run(RunDirectory(tmp_path))


def test_damaged_weights_are_one_line(trained, tmp_path):
    damaged = tmp_path / "run"
    shutil.copytree(trained, damaged)
    for file in (damaged / "checkpoints").rglob("*"):
        if file.is_file() and "/d/" in str(file):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"checkpoints/\d+/state/.*: the file is damaged") as caught:
        evaluate_run(RunDirectory(damaged), checkpoint="latest")
    assert "\n" not in str(caught.value)


def test_a_model_that_sees_the_future_says_so_everywhere(cache, tmp_path, capsys):
    config = tiny_run_config(cache)
    config.tokens.future, config.tokens.speaker_names, config.train.epochs = 2, True, 1
    loop.train(config, str(tmp_path))
    assert "not causal: a turn is judged by later turns too" in capsys.readouterr().out
    run = RunDirectory(tmp_path)
    evaluation = evaluate_run(run)
    assert evaluation.metrics["causal"] is False
    assert "not causal" in format_evaluation(evaluation)
    turns, _ = prediction_files.read(run.evaluation("test") / "predictions.csv")
    later = [turn.insides.numbers["later_u"] for turn in turns]
    last = [one.conversation != next_one.conversation for one, next_one in itertools.pairwise(turns)] + [True]
    assert [weight > 1e-3 for weight in later] == [not ends for ends in last]
    assert "no: later turns are seen too" in write_report(run, "test").read_text(encoding="utf-8")
    # The names are words of the vocabulary.
    assert not run.read_tokenizer().encode([f"{turns[0].speaker}:"])[0].count(1)


def test_a_causal_model_says_so(trained):
    evaluation = evaluate_run(RunDirectory(trained))
    assert evaluation.metrics["causal"] is True
    assert "causal" not in format_evaluation(evaluation)
