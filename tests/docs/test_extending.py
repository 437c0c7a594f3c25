"""The examples of docs/extending.md, run as they are printed."""

import importlib.util
import json
import re
import sys

import jax
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dtrm_jax.batch import PackShape
from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data import corpus
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.readers import READERS
from dtrm_jax.data.readers.reader import Files
from dtrm_jax.errors import InputError
from dtrm_jax.models import ARCHITECTURES, build_model, encoders
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.models.encoders import FAMILIES
from dtrm_jax.tasks import metrics, task_of
from tests.encoder_families import FAMILIES as FAMILY_FILES
from tests.factories import LABELS, random_examples, tiny_config, tiny_encoder
from tests.fusions import TRIPLE, built, everywhere, representations
from tests.runs import ROOT

BLOCK = re.compile(r"^```python (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REGISTRIES = {"FUSIONS": FUSIONS, "FAMILIES": FAMILIES, "READERS": READERS, "ARCHITECTURES": ARCHITECTURES}


def section(title):
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    return BLOCK.findall(text)


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """Makes a section's file a module and its line an entry, both for one test."""

    def extend(title):
        (path, code), (kind, line) = section(title)
        assert kind == "registry"
        file = tmp_path / path.rsplit("/", 1)[-1]
        file.write_text(code, encoding="utf-8")
        name = path.removesuffix(".py").replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        added = {}
        scope = {registry: added for registry in REGISTRIES} | {"Files": Files} | vars(module)
        exec(line, scope)
        registry = REGISTRIES[line.split("[")[0]]
        for key, entry in added.items():
            monkeypatch.setitem(registry, key, entry)
        return module

    return extend


def test_a_fusion(extended):
    extended("A fusion")
    r, present = representations(TRIPLE, 4), everywhere(TRIPLE, 4)
    present["visual"] = np.array([True, True, False, False])
    present["acoustic"] = np.array([True, False, True, False])
    params, apply = built("mean", r, present)
    u, a, v = (r[name] for name in TRIPLE)
    expected = [(u[0] + a[0] + v[0]) / 3, (u[1] + v[1]) / 2, (u[2] + a[2]) / 2, u[3]]
    np.testing.assert_allclose(apply(params, r, present), expected, rtol=0, atol=1e-6)


def test_an_encoder_family(extended, tmp_path):
    extended("An encoder family")
    values = FAMILY_FILES["roberta"].config | {"model_type": "camembert"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    encoder = encoders.read_encoder(tmp_path, dropout=0.0, attention_dropout=0.0)
    assert encoder.family == "camembert" and encoder.longest == 33 and encoder.special.first == "<s>"
    assert encoders.from_dict(encoders.to_dict(encoder)) == encoder


@pytest.fixture
def dailydialog(tmp_path):
    for split, lines in {"train": 2, "validation": 1, "test": 1}.items():
        folder = tmp_path / "dailydialog" / split
        folder.mkdir(parents=True)
        (folder / f"dialogues_{split}.txt").write_text("Hi . __eou__ Hello ! __eou__ Oh no . __eou__\n" * lines)
        (folder / f"dialogues_emotion_{split}.txt").write_text("0 4 5 \n" * lines)
    return tmp_path / "dailydialog"


def test_a_reader(extended, dailydialog, tmp_path):
    extended("A reader")
    config = DataConfig(name="dailydialog", source=str(dailydialog), cache=str(tmp_path / "cache"))
    dataset = corpus.load(config)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 2, "dev": 1, "test": 1}
    turns = dataset.splits["dev"][0].turns
    found = [(turn.speaker, turn.text, turn.label) for turn in turns]
    assert found == [("A", "Hi .", "none"), ("B", "Hello !", "happiness"), ("A", "Oh no .", "sadness")]
    (dailydialog / "test" / "dialogues_emotion_test.txt").write_text("0 4\n")
    with pytest.raises(InputError, match=r"dialogues_emotion_test\.txt, line 1: expected 3 emotions from 0 to 6"):
        corpus.load(config)


def test_a_model(extended):
    extended("A model")
    config = tiny_config(model__architecture="speaker_aware", model__encoder__pooling="mean")
    examples = random_examples(0, (5, 3), config)
    shape = PackShape(((29, 9),), 11)
    model = build_model(config, tiny_encoder(config), len(LABELS), shape)
    pack = build_pack(examples, shape)
    params = model.init(jax.random.key(0), pack, deterministic=True)["params"]
    apply = jax.jit(lambda pack: model.apply({"params": params}, pack, deterministic=True))
    logits = np.asarray(apply(pack))
    assert logits.shape == (shape.utterances, len(LABELS)) and set(params) == {"encoder", "speakers", "output"}
    others = np.asarray(apply(pack.replace(speaker_U=np.where(pack.speaker_U >= 0, pack.speaker_U + 1, -1))))
    assert (np.abs(others - logits).max(axis=1)[:8] > 1e-4).all()


def test_a_metric(monkeypatch):
    ((kind, code),) = section("A metric")
    assert kind == "entry"
    metric = eval(code, {"Metric": metrics.Metric, "np": np})
    monkeypatch.setitem(metrics.METRICS, metric.name, metric)
    labels = LabelSpace(("x", "y", "z"))
    task = task_of(labels)
    assert metric in task.metrics
    random = np.random.default_rng(0)
    true, predicted = random.integers(3, size=(2, 50))
    counts = np.zeros((3, 3))
    np.add.at(counts, (true, predicted), 1)
    assert task.scores_of(counts)["kappa"] == pytest.approx(cohen_kappa_score(true, predicted))
    perfect = np.diag([3.0, 4.0, 5.0])
    assert task.scores_of(np.stack([counts, perfect]))["kappa"][1] == pytest.approx(1)
