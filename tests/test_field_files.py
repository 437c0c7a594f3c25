"""From each of the field's file formats to a trained and evaluated model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dtrm_jax.config import Config
from dtrm_jax.data.readers.meld import LABELS
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.intermediates import inspect_conversation
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.experiments import making
from dtrm_jax.experiments.grid import Folders
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.training import loop
from tests import field_files
from tests.field_files import LAYERS
from tests.runs import tiny_run_config

IEMOCAP = {"train": [f"Ses01_{n}" for n in range(40)], "test": [f"Ses05_{n}" for n in range(9)]}
IEMOCAP_DEV = {**IEMOCAP, "dev": [f"Ses02_{n}" for n in range(8)]}
MELD = {"train": [*range(40), *range(1039, 1047)], "test": list(range(1153, 1162))}
MELD_DEV = {"train": list(range(40)), "dev": list(range(1039, 1047)), "test": list(range(1153, 1162))}
ONE_HOT = [[int(i == j) for i in range(9)] for j in range(9)]
# The same sizes throughout, so that most formats share one compiled program.
SIZES = {"utterance": 7, "acoustic": 5, "visual": 3}
FOUR_LAYERS = dict.fromkeys(LAYERS, 7) | {"acoustic": 5, "visual": 3}


def iemocap(splits=IEMOCAP, sizes=SIZES):
    return field_files.make(splits, sizes=sizes)


def meld(splits=MELD, sizes=SIZES):
    return field_files.make(splits, classes=7, speakers=ONE_HOT[:3], sizes=sizes)


def iemocap_joined(folder):
    """COSMIC's transcripts and split, with features from a file that merges dev into train."""
    made = iemocap(IEMOCAP_DEV)
    field_files.cosmic(folder / "iemocap.pkl", made)
    merged = {"train": IEMOCAP_DEV["train"] + IEMOCAP_DEV["dev"], "test": IEMOCAP_DEV["test"]}
    field_files.iemocap_features(folder / "f.pkl", made.__class__(**{**vars(made), "splits": merged}))


def meld_csv_and_audio(folder):
    """The csv files and the authors' audio, which some utterances lack."""
    made, offsets, vectors = meld(MELD_DEV), {"train": 0, "dev": 1039, "test": 1153}, {}
    for split, ids in made.splits.items():
        rows, vectors[split] = [], {}
        for id in ids:
            for turn, (text, label) in enumerate(zip(made.sentences[id], made.labels[id], strict=True)):
                rows.append([text, f"S{turn % 2}", LABELS.names[label], id - offsets[split], turn])
                if (id + turn) % 7:
                    vectors[split][f"{id - offsets[split]}_{turn}"] = made.features["acoustic"][id][turn]
        with (folder / f"{split}_sent_emo.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"], *rows])
    field_files.meld_vectors(folder / "audio_embeddings_feature_selection_emotion.pkl", vectors)


# name: (corpus, how to write it, modalities, what represents an utterance)
FORMATS = {
    "IEMOCAP features": ("iemocap", lambda f: field_files.iemocap_features(f / "x.pkl", iemocap()), "uav", "features"),
    "IEMOCAP text and features": ("iemocap", iemocap_joined, "uav", "encoder"),
    "COSMIC's transcripts": (
        "iemocap",
        lambda f: field_files.cosmic(f / "iemocap.pkl", iemocap(IEMOCAP_DEV)),
        "u",
        "encoder",
    ),
    "COSMIC's RoBERTa": (
        "iemocap",
        lambda f: field_files.cosmic(f / "r.pkl", iemocap(IEMOCAP_DEV, dict.fromkeys(LAYERS, 7)), roberta=True),
        "u",
        "features",
    ),
    "12 fields": (
        "iemocap",
        lambda f: field_files.sdt_features(f / "m.pkl", iemocap(sizes=FOUR_LAYERS), trailing=False),
        "uav",
        "features",
    ),
    "MELD csv and audio": ("meld", meld_csv_and_audio, "ua", "encoder"),
    "MELD features": ("meld", lambda f: field_files.meld_features_raw(f / "x.pkl", meld()), "ua", "features"),
    "MELD features with faces": (
        "meld",
        lambda f: field_files.meld_features_raw1(f / "x.pkl", meld()),
        "uav",
        "features",
    ),
    "13 fields": (
        "meld",
        lambda f: field_files.sdt_features(f / "m.pkl", meld(sizes=FOUR_LAYERS), trailing=True),
        "uav",
        "features",
    ),
    "COSMIC's MELD": (
        "meld",
        lambda f: field_files.cosmic(f / "meld.pkl", meld(MELD_DEV), meld=True),
        "u",
        "encoder",
    ),
    "COSMIC's MELD RoBERTa": (
        "meld",
        lambda f: field_files.cosmic(
            f / "meld_features_roberta.pkl", meld(MELD_DEV, dict.fromkeys(LAYERS, 7)), meld=True, roberta=True
        ),
        "u",
        "features",
    ),
}


def configured(folder: Path, corpus: str, modalities: str, utterance: str) -> Config:
    config = tiny_run_config(folder / "cache")
    config.data.name, config.data.source = corpus, str(folder / "source")
    config.model.modalities, config.model.utterance, config.model.fusion.kind = modalities, utterance, "concat"
    config.model.fusion.layers, config.model.fusion.heads, config.model.fusion.feed_forward = 1, 2, 24
    config.packing.utterances = 48
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 1e-2
    config.train.epochs = 6
    config.train.save_every_steps, config.train.evaluate_every_steps = 0, 10**6  # one checkpoint, at the end
    return config


@pytest.mark.parametrize("name", FORMATS)
def test_a_round_trip(tmp_path, name):
    corpus, write, modalities, utterance = FORMATS[name]
    (tmp_path / "source").mkdir()
    write(tmp_path / "source")
    config = configured(tmp_path, corpus, modalities, utterance)
    loop.train(config, str(tmp_path / "run"))
    metrics = evaluate_run(RunDirectory(tmp_path / "run")).metrics
    with (tmp_path / "run/eval/test/predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert metrics["n"] == len(rows) > 20 and len({row["conversation"] for row in rows}) == 9
    # Features show the label plainly: a model that reads them is far above chance. So do words, but that takes longer.
    assert metrics["accuracy"] > (0.5 if modalities != "u" or utterance == "features" else 0.1)


def test_avec_from_its_files_to_pearsons_r(tmp_path):
    splits = {"train": [f"c{n}" for n in range(40)], "test": [f"t{n}" for n in range(9)]}
    made = field_files.make(splits, classes=0, speakers=("user", "operator"), sizes=SIZES)
    (tmp_path / "source").mkdir()
    for attribute, scale in ((1, 1.0), (3, -0.5)):
        labels = {id: [scale * x for x in row] for id, row in made.labels.items()}
        scaled = made.__class__(**{**vars(made), "labels": labels})
        field_files.iemocap_features(tmp_path / "source" / f"AVEC_features_{attribute}.pkl", scaled)
    config = configured(tmp_path, "avec", "uav", "features")
    config.train.select_by = "weighted_f1"
    with pytest.raises(InputError, match="select_by: avec has real values, expected one of pearson_r, mae"):
        loop.train(config, str(tmp_path / "refused"))
    config.train.select_by, config.train.evaluate_every_steps = "mae", 0
    progress = loop.train(config, str(tmp_path / "run")).progress
    dev = [record for record in read_records(tmp_path / "run/metrics.jsonl") if record["split"] == "dev"]
    assert progress.best_score == min(record["mae"] for record in dev), "less is better"
    assert {"mae_valence", "pearson_r_expectancy"} <= dev[0].keys() and "accuracy" not in dev[0]
    metrics = evaluate_run(RunDirectory(tmp_path / "run")).metrics
    assert metrics["per_target"].keys() == {"valence", "expectancy"}
    assert min(scores["pearson_r"] for scores in metrics["per_target"].values()) > 0.6
    assert json.loads((tmp_path / "run/eval/test/metrics.json").read_text())["mae"] == metrics["mae"]
    assert not (tmp_path / "run/eval/test/analysis.json").exists(), "real values have no classes to analyse"
    with (tmp_path / "run/eval/test/predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = np.array([[float(row["label_expectancy"]), float(row["prediction_expectancy"])] for row in rows])
    assert np.corrcoef(found.T)[0, 1] == pytest.approx(metrics["per_target"]["expectancy"]["pearson_r"], abs=1e-5)
    # One at a time, as Table 2.
    config.data.targets, config.train.epochs, config.train.select_by = "expectancy", 1, "pearson_r"
    folders = Folders(tmp_path / "runs", tmp_path / "records")
    making.run("table2", config, seeds=[0], only=[], folders=folders)
    _, _, heading, _, u, m, *_ = making.write("table2", config, seeds=[0], records_folder=folders.records).splitlines()
    assert "expectancy r" in heading and "valence" not in heading and "Δ" in heading
    assert "DialogueTRM-U" in u and "0.38" in u and "0.40" in m and "reference" in m
    outcome = json.loads((tmp_path / "records/table2.json").read_text())
    first, second = (row["scores"]["test.per_target.expectancy.pearson_r"][0] for row in outcome["rows"])
    assert outcome["rows"][0]["difference"]["difference"] == pytest.approx(first - second, abs=1e-6)


def test_a_run_carries_its_normalisation(tmp_path):
    """The same run, evaluated beside other training data, predicts the same."""
    (tmp_path / "source").mkdir()
    field_files.iemocap_features(tmp_path / "source/x.pkl", iemocap())
    config = configured(tmp_path, "iemocap", "av", "features")
    config.train.epochs, config.model.fusion.kind = 1, "mgif"
    loop.train(config, str(tmp_path / "run"))
    before = evaluate_run(RunDirectory(tmp_path / "run"))
    made = iemocap()
    for id in made.splits["train"]:
        made.features["acoustic"][id] = [100 * vector for vector in made.features["acoustic"][id]]
    (tmp_path / "other").mkdir()
    field_files.iemocap_features(tmp_path / "other/x.pkl", made)
    beside = evaluate_run(RunDirectory(tmp_path / "run"), source=str(tmp_path / "other"))
    assert beside.analysis == before.analysis and beside.folder != before.folder
    told = {"source", "data", "evaluated"}  # which data it was, and when
    assert {k: x for k, x in beside.metrics.items() if k not in told} == {
        k: x for k, x in before.metrics.items() if k not in told
    }
    gates = inspect_conversation(RunDirectory(tmp_path / "run"), "test", "Ses05_3")
    turns = len(made.labels["Ses05_3"])
    assert gates["fusion/gate_av/value"].shape == (turns, 16)
    assert gates["fusion/transformer/layer_0/attention/weights"].shape == (turns, 2, 3, 3)
    with pytest.raises(InputError, match="iemocap test: expected the id of a conversation, found 'Ses05_99'"):
        inspect_conversation(RunDirectory(tmp_path / "run"), "test", "Ses05_99")
    (tmp_path / "run/normalization.npz").unlink()
    with pytest.raises(InputError, match=r"normalization\.npz: expected this file, as SHA256SUMS names it, found none"):
        evaluate_run(RunDirectory(tmp_path / "run"))
