"""The examples of docs/extending.md, run as they are printed."""

import functools
import importlib.util
import json
import re
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from sklearn.metrics import cohen_kappa_score

from dtrm_jax import api, settings
from dtrm_jax.batch import PackShape
from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data import corpus
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.readers import READERS
from dtrm_jax.data.readers.reader import Files
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.evaluation.terminal import format_evaluation
from dtrm_jax.experiments import tables
from dtrm_jax.models import ARCHITECTURES, architecture, build_model, encoders
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.models.encoders import FAMILIES
from dtrm_jax.models.encoders.weights import load_params
from dtrm_jax.report import write_report
from dtrm_jax.tasks import metrics, task_of
from tests.encoder_families import FAMILIES as FAMILY_FILES
from tests.factories import LABELS, random_examples, tiny_config, tiny_encoder
from tests.fusions import TRIPLE, built, everywhere, representations
from tests.golden import explicit
from tests.packed import pack, sequences_of
from tests.runs import ROOT, saved_state, tiny_run_config

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
    weights = explicit.weights({name: target.shape for name, target in encoder.arrays().items()})
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors")
    arrays, rows, _ = pack(sequences_of((3, 12, 33), 29), ((17, ((0, 1),)), (33, ((2,),))))

    def states(encoder):
        module, params = encoder.module(np.float32, remat=False, name=None), load_params(tmp_path, encoder)
        return jax.jit(lambda params: module.apply({"params": params}, *arrays, rows, deterministic=True))(params)

    found = states(encoder)
    (tmp_path / "config.json").write_text(json.dumps(FAMILY_FILES["roberta"].config))
    roberta = encoders.read_encoder(tmp_path, dropout=0.0, attention_dropout=0.0)
    assert roberta.family == "roberta" and np.std(found) > 0.1
    np.testing.assert_array_equal(found, states(roberta))


@pytest.fixture
def emotionlines(tmp_path):
    folder = tmp_path / "emotionlines"
    folder.mkdir()
    spoken = [("Ann", "Hi.", "neutral"), ("Bob", "Hello!", "joy"), ("Ann", "Oh no.", "sadness")]
    names = ("speaker", "utterance", "emotion")
    utterances = [dict(zip(names, one, strict=True)) | {"annotation": "5"} for one in spoken]
    for split, count in {"train": 2, "dev": 1, "test": 1}.items():
        (folder / f"friends_{split}.json").write_text(json.dumps([utterances] * count))
    return folder


def test_a_reader(extended, emotionlines, tmp_path):
    extended("A reader")
    config = DataConfig(name="emotionlines", source=str(emotionlines), cache=str(tmp_path / "cache"))
    dataset = corpus.load(config)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 2, "dev": 1, "test": 1}
    turns = dataset.splits["dev"][0].turns
    found = [(turn.id, turn.speaker, turn.text, turn.label) for turn in turns]
    assert found == [("1", "Ann", "Hi.", "neutral"), ("2", "Bob", "Hello!", "joy"), ("3", "Ann", "Oh no.", "sadness")]
    file = emotionlines / "friends_test.json"
    for bad in ('[[{"speaker": "A", "utterance": "x", "emotion": "odd"}]]', '[[{"speaker": "A"}]]', "[3]", "{"):
        file.write_text(bad)
        with pytest.raises(InputError, match=r"friends_test\.json: expected lists of utterances, found "):
            corpus.load(config)
    for bad in (
        '{"speaker": 3, "utterance": "x", "emotion": "joy"}',
        '{"speaker": "A", "utterance": null, "emotion": "joy"}',
    ):
        file.write_text(f"[[{bad}]]")
        with pytest.raises(
            InputError, match="emotionlines, test split, conversation 1: expected text as .*, found (3|None)$"
        ):
            corpus.load(config)


def test_a_model_hears_who_speaks(extended):
    extended("A model")
    config = tiny_config(model__architecture="speaker_aware", model__encoder__pooling="mean")
    examples = random_examples(0, (5, 3), config)
    shape = PackShape(((29, 9),), 11)
    model = build_model(config, tiny_encoder(config), len(LABELS), shape)
    pack = build_pack(examples, shape)
    params = jax.jit(functools.partial(model.init, deterministic=True))(jax.random.key(0), pack)["params"]
    apply = jax.jit(lambda pack: model.apply({"params": params}, pack, deterministic=True))
    logits = np.asarray(apply(pack))
    assert logits.shape == (shape.utterances, len(LABELS)) and set(params) == {"encoder", "speakers", "output"}
    others = np.asarray(apply(pack.replace(speaker_U=np.where(pack.speaker_U >= 0, pack.speaker_U + 1, -1))))
    assert (np.abs(others - logits).max(axis=1)[:8] > 1e-4).all()


def test_a_model_says_what_it_reads_and_what_it_sees(extended, monkeypatch):
    model = extended("A model").SpeakerAware
    config = tiny_config(model__architecture="speaker_aware")
    assert architecture(config).is_causal(config)
    assert not model.is_causal(tiny_config(model__architecture="speaker_aware", tokens__future=2))
    for changes in ({"model__modalities": "ua"}, {"model__utterance": "features"}):
        with pytest.raises(InputError, match="as speaker_aware reads text alone"):
            architecture(tiny_config(model__architecture="speaker_aware", **changes))
    monkeypatch.delattr(model, "is_causal")
    with pytest.raises(NotImplementedError):  # nothing is claimed for a model that does not say it
        model.is_causal(config)


def test_a_setting():
    ((kind, line),) = section("A setting")
    assert kind == "field"
    scope = {"setting": settings.setting}
    exec(f"import dataclasses\n@dataclasses.dataclass(kw_only=True)\nclass Own:\n    {line}", scope)
    own = scope["Own"]
    assert own().reach == 3 and settings.from_dict({}, own) == own()
    with pytest.raises(InputError, match="reach: expected .*100, found 101"):
        settings.check(own(reach=101), "config.model.own")


def test_a_fusion_has_a_row_of_its_table(extended):
    paper = [row.variant.name for row in tables.table("table5", "ua").rows]
    extended("A fusion")
    rows = tables.table("table5", "ua").rows
    assert [row.variant.name for row in rows] == [*paper, "ua-mean"]
    assert rows[-1].shown == "mean" and not rows[-1].paper and rows[-2].paper


def test_a_model_trains_and_is_evaluated_and_reported(extended, tmp_path):
    extended("A model")
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture, config.model.encoder.layers, config.train.epochs = "speaker_aware", 1, 1
    config.optimizer.weight_decay = 0.0
    run = api.train(config, tmp_path / "run")
    logged = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    step, state = saved_state(tmp_path / "run")
    assert step > 1 and logged
    # Biases begin as zeros.
    assert np.abs(state["['params']['output']['bias']"]).max() > 1e-3
    scores = api.evaluate(run, split="dev")
    assert scores["n"] > 0 and 0 <= scores["weighted_f1"] <= 1
    assert "speaker_aware: u" in (run.evaluation("dev") / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def metric(monkeypatch):
    ((kind, code),) = section("A metric")
    assert kind == "entry"
    metric = eval(code, {"Metric": metrics.Metric, "np": np})
    monkeypatch.setitem(metrics.METRICS, metric.name, metric)
    return metric


def test_a_metric_is_computed_from_counts(metric):
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


def test_a_metric_selects_and_is_reported(metric, bag_of_words, tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture, config.train.select_by = bag_of_words, "kappa"
    config.optimizer.learning_rate = config.optimizer.encoder_learning_rate = 0.2
    config.train.epochs = 8  # at a rate at which the last epoch is seldom the best
    run = api.train(config, tmp_path / "run")
    evaluation = evaluate_run(run, split="dev", checkpoint="best", source=None)
    found = evaluation.metrics["kappa"]
    turns, _ = predictions.read(run.evaluation("dev") / "predictions.csv")
    assert found == pytest.approx(cohen_kappa_score(*zip(*((t.label, t.prediction) for t in turns), strict=True)))
    table = format_evaluation(evaluation)
    assert metric.title in table and metric.shown(found) in table
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    kappas = {one["step"]: one["kappa"] for one in records if one["split"] == "dev"}
    assert evaluation.metrics["step"] == max(kappas, key=kappas.get)
    assert '"kappa"' in (run.evaluation("dev") / "analysis.json").read_text(encoding="utf-8")
    write_report(run, "dev")
    assert "Cohen&#39;s kappa" in (run.evaluation("dev") / "report.html").read_text(encoding="utf-8")
