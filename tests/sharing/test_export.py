"""Exporting a run: the folder appears whole, never over another, and its card says what the run says."""

import dataclasses
import json
import shutil
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest

import dtrm_jax
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data import corpus
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.run import evaluate_run
from dtrm_jax.inference import exported
from dtrm_jax.inference.exported import rounded
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.json_file import write_json
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.pruning import prune
from dtrm_jax.run_directory.starts import add_start
from dtrm_jax.sharing import Owner, export, exporting, rounding
from dtrm_jax.sharing.evaluations import Evaluation
from dtrm_jax.sharing.model_card import write_card
from dtrm_jax.sharing.rounding import Rounding
from dtrm_jax.tasks import Targets, task_of
from tests.runs import tiny_run_config
from tests.trained import multimodal, random_run, random_trained

OWNER = Owner(name="moods", license="mit", languages=("en",), tags=("test",))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> tuple[RunDirectory, list]:
    """A run after the evaluation of both splits, without its data."""
    cache = tmp_path_factory.mktemp("cache")
    config = tiny_run_config(cache)
    config.model.modalities = "ua"
    config.model.fusion.layers, config.model.fusion.heads, config.model.fusion.feed_forward = 1, 2, 11
    run = random_run(config, tmp_path_factory.mktemp("run"))
    for split in ("dev", "test"):
        evaluate_run(run, split=split)
    conversations = list(corpus.load(config.data).splits["test"])
    shutil.rmtree(cache)
    return run, conversations


def probabilities(source, conversations) -> np.ndarray:
    predicted = dtrm_jax.load(source).predict(conversations)
    return np.array([list(turn.probabilities.values()) for turns in predicted for turn in turns])


def test_the_folder_predicts_what_the_run_does_pruned_or_not(evaluated, tmp_path):
    run, conversations = evaluated
    done = export(run, tmp_path / "a/moods", owner=OWNER)
    assert done.folder == tmp_path / "a/moods" and done.step == 7 and done.rounding is None
    names = ["README.md", "SHA256SUMS", "config.json", "model.safetensors", "normalization.safetensors"]
    names += ["tokenizer.json"]
    assert list(done.sizes) == sorted(file.name for file in done.folder.iterdir()) == names
    assert done.sizes == {file.name: file.stat().st_size for file in done.folder.iterdir()}
    assert [file.name for file in done.folder.parent.iterdir()] == ["moods"]
    assert len({file.stat().st_mode for file in done.folder.iterdir()}) == 1, "others may read all of it, or nothing"
    found = probabilities(done.folder, conversations)
    np.testing.assert_array_equal(found, probabilities(run, conversations))
    rows, _ = predictions.read(run.evaluation("test") / "predictions.csv")
    np.testing.assert_allclose(found, [row.probabilities for row in rows], rtol=0, atol=1e-5)
    pruned = RunDirectory(shutil.copytree(run.path, tmp_path / "pruned"))
    prune(pruned)
    export(pruned, tmp_path / "b", owner=OWNER)
    for name in names:
        assert (tmp_path / "b" / name).read_bytes() == (done.folder / name).read_bytes(), name


def test_the_card_is_of_the_run(evaluated, tmp_path):
    run, _ = evaluated
    other = RunDirectory(shutil.copytree(run.path, tmp_path / "run"))
    values = json.loads((run.evaluation("test") / "metrics.json").read_text())
    write_json(other.evaluation("train") / "metrics.json", values | {"step": 5})
    write_json(other.evaluation("test@Dubbed") / "metrics.json", values | {"source": "Dubbed"})
    assert export(other, tmp_path / "moods", owner=OWNER).evaluations == ["test", "dev", "test@Dubbed"]
    card = huggingface_hub.ModelCard.load(tmp_path / "moods/README.md")
    data = card.data
    stated = data.to_dict()
    assert [stated[name] for name in ("license", "language", "library_name")] == ["mit", ["en"], "dtrm_jax"]
    assert data.model_name == "moods"
    assert "test" in data.tags and data.base_model is None
    scores = {(one.dataset_name, one.dataset_split, one.metric_type): one.metric_value for one in data.eval_results}
    assert scores["planted", "test", "weighted_f1"] == pytest.approx(100 * values["weighted_f1"], abs=1e-4)
    assert ("planted", "dev", "accuracy") in scores and ("Dubbed", "test", "accuracy") in scores
    assert not any(split == "train" for _, split, _ in scores), "of other parameters"
    interval = json.loads((run.evaluation("test") / "analysis.json").read_text())["intervals"]["weighted_f1"]
    low, high = (f"{100 * interval[end]:.2f}" for end in ("low", "high"))
    assert f"| weighted F1 | {100 * values['weighted_f1']:.2f} | {low} to {high} |" in card.text
    assert "of Dubbed, which is not the data that the model was trained on" in card.text
    assert "step 7 of " in card.text and "No licence was named" not in card.text
    worst = min(values["per_class"].items(), key=lambda item: item[1]["recall"])
    assert f"Of the turns that are {worst[0]} it finds {100 * worst[1]['recall']:.0f} % (test)" in card.text
    assert "12 acoustic features per turn" in card.text and str(tmp_path) not in card.content
    assert "trained with" not in card.text, "this run was never started"


def test_the_card_tells_what_every_part_of_the_training_ran_on(evaluated, tmp_path):
    run = RunDirectory(shutil.copytree(evaluated[0].path, tmp_path / "run"))
    for step, version in ((0, "0.1|2"), (5, "0.3")):
        add_start(run.starts_file, step, {"command": ["python", "train.py"], "versions": {"jax": version}})
    card = (export(run, tmp_path / "moods", owner=OWNER).folder / "README.md").read_text(encoding="utf-8")
    assert "| trained, from step 0 on, by | python train.py |\n" in card
    assert "| trained, from step 0 on, with | jax 0.1\\|2 |\n" in card
    assert "| trained, from step 5 on, with | jax 0.3 |\n" in card


def test_without_an_evaluation_and_an_owner_the_card_says_so(evaluated, tmp_path):
    run = RunDirectory(shutil.copytree(evaluated[0].path, tmp_path / "run"))
    shutil.rmtree(run.path / "eval")
    export(run, tmp_path / "moods", owner=Owner())
    card = huggingface_hub.ModelCard.load(tmp_path / "moods/README.md")
    assert card.data.license is None and card.data.language is None and card.data.eval_results is None
    assert "There is no evaluation of these parameters." in card.text and "No licence was named" in card.text
    assert card.text.strip().startswith("# tiny") and "Intervals are" not in card.text


def test_neither_settings_nor_notes_tell_where_things_lay(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/zoe")
    notes = {
        "a.pkl: 3 clips are of no turn, such as /home/zoe/wav/Ses01.wav": "such as Ses01.wav",
        "labels are positions in /srv/zoe/My Talks/labels.txt: 0 joy, 1 n/a": "positions in labels.txt: 0 joy, 1 n/a",
        r"such as C:\Users\zoe\x.wav and ~zoe/y.wav": "such as x.wav and y.wav",
        "see https://example.org/a/b, and train / dev": "see https://example.org/a/b, and train / dev",
    }
    for number, place in enumerate(("/home/zoe/mpnet", "~/mpnet", "../zoe/mpnet", r"C:\Users\zoe\mpnet")):
        trained = random_trained(multimodal(train__select_by="accuracy"))
        trained.config.data.source = "/srv/zoe/My Talks/talks.csv"
        trained.config.model.encoder.pretrained = trained.config.train.init_from = place
        trained = dataclasses.replace(trained, manifest=dataclasses.replace(trained.manifest, notes=tuple(notes)))
        folder = tmp_path / str(number)
        folder.mkdir()
        exported.write(trained, folder, "float32")
        write_card(folder / "README.md", trained, [], starts=[], owner=Owner(), rounding=None)
        card = (folder / "README.md").read_text(encoding="utf-8")
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert values["settings"]["model"]["encoder"]["pretrained"] == "mpnet"
        for note, expected in zip(values["run"]["notes"], notes.values(), strict=True):
            assert note.endswith(expected) and f"- {note}" in card
        assert "zoe" not in card and "zoe" not in json.dumps(values)
    hub = random_trained(multimodal(train__select_by="accuracy"))
    hub.config.model.encoder.pretrained = "ann/mpnet"
    write_card(tmp_path / "README.md", hub, [], starts=[], owner=Owner(), rounding=None)
    assert huggingface_hub.ModelCard.load(tmp_path / "README.md").data.base_model == "ann/mpnet"


@pytest.mark.parametrize("labels", [LabelSpace(("a|b", "<c>")), ValueSpace(("valence", "power"))])
def test_names_break_no_table(labels, tmp_path):
    trained = random_trained(multimodal(train__select_by="accuracy"), labels=labels)
    task = task_of(labels)
    random = np.random.default_rng(0)
    if isinstance(labels, LabelSpace):
        targets = Targets(random.integers(2, size=9).astype(np.int32), np.zeros((9, 0), np.float32))
        outputs = random.dirichlet((1, 1), 9)
    else:
        targets, outputs = Targets(np.full(9, -1, np.int32), random.normal(size=(9, 2))), random.normal(size=(9, 2))
    metrics = {"corpus": "x|y", "split": "test", "n": 9, **task.score(targets, outputs)}
    one = Evaluation(name="test", metrics=metrics, analysis=None, task=task)
    starts = [{"command": ["a|b"], "versions": {"jax": "1 | 2"}, "starts": [{"time": "", "step": 0}]}]
    write_card(tmp_path / "README.md", trained, [one], starts=starts, owner=Owner(), rounding=None)
    text = huggingface_hub.ModelCard.load(tmp_path / "README.md").text
    for block in text.split("\n\n"):
        rows = [line.replace("\\|", "").count("|") for line in block.strip().splitlines() if line.startswith("|")]
        assert len(set(rows)) <= 1, block
    assert "<c>" not in text.split("## Scores")[1]
    shown = [name.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;") for name in labels.names]
    assert "| 95 % interval |" in text and f"It predicts {', '.join(shown)}." in text


def test_what_float16_changes_is_measured(evaluated, tmp_path):
    run, _ = evaluated
    done = export(run, tmp_path / "moods", dtype="float16", owner=OWNER)
    found = done.rounding
    assert found.of.startswith("from eval/") and found.of.endswith(", with random features")
    assert found.turns > 20 and 0 < found.largest < 0.1 and 0 <= found.changed < found.turns
    assert str(found) in (done.folder / "README.md").read_text(encoding="utf-8")
    shutil.rmtree(shutil.copytree(run.path, tmp_path / "run") / "eval")
    without = export(RunDirectory(tmp_path / "run"), tmp_path / "without", dtype="float16", owner=OWNER).rounding
    assert without.of == "generated, with random features" and without.turns > 100
    kept = dtrm_jax.load(run).trained.params
    found = dtrm_jax.load(done.folder).trained.params
    jax.tree.map(np.testing.assert_array_equal, found, rounded(kept, "float16"))


def test_turns_without_text_do_not_keep_a_model_from_float16(tmp_path, monkeypatch):
    config = tiny_run_config(tmp_path / "cache")
    config.model.modalities = "u"
    run = random_run(config, tmp_path / "run")
    file = evaluate_run(run).folder / "predictions.csv"
    turns, task = predictions.read(file)
    told = [dataclasses.replace(turn, text=" " if index == 1 else turn.text) for index, turn in enumerate(turns)]

    def measured() -> Rounding:
        return rounding.measure(run, read_trained(run), "float16")

    monkeypatch.setattr(predictions, "read", lambda _: (told, task))
    assert measured().of == "from eval/test" and measured().turns == len(turns) - 1
    told[:] = [dataclasses.replace(turn, text="") for turn in turns]
    assert measured().of == "generated" and measured().turns > 100


def test_the_current_folder_is_not_replaced(evaluated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\.: is the current folder, which cannot be replaced; name a new one"):
        export(evaluated[0], ".", owner=OWNER)
    assert export(evaluated[0], "new", owner=OWNER).folder == tmp_path / "new"


def test_nothing_is_overwritten_and_nothing_half_written_is_left(evaluated, tmp_path, monkeypatch):
    run, _ = evaluated
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a new or an empty folder to export to, found files, which are kept"):
        export(run, tmp_path / "full", owner=OWNER)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="expected a new folder to export to, found a file"):
        export(run, tmp_path / "file", owner=OWNER)
    with pytest.raises(InputError, match="dtype: expected one of float32, float16"):
        export(run, tmp_path / "new", dtype="int8", owner=OWNER)
    (tmp_path / "empty").mkdir()
    export(run, tmp_path / "empty", owner=OWNER)
    with pytest.raises(InputError, match="found files, which are kept"):
        export(run, tmp_path / "empty", owner=OWNER)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_card", fail)
    with pytest.raises(OSError, match="No space left"):
        export(run, tmp_path / "new", owner=OWNER)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "file", "full"]
    assert [file.name for file in Path(tmp_path / "full").iterdir()] == ["mine.txt"]
