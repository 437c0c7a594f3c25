"""Exported folders: what is written comes back bit for bit, and what is hostile or damaged is one line."""

import dataclasses
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import jax
import numpy as np
import pytest
import safetensors.numpy

import dtrm_jax
from dtrm_jax.config import to_dict
from dtrm_jax.conversation import ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.inference import exported
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.inference.reading import read_trained
from tests.factories import LABELS
from tests.inference.test_predictor import conversations
from tests.runs import ROOT, environment
from tests.trained import multimodal, random_trained

VALUES = ValueSpace(("valence", "power"))


def numbers(predicted) -> list[list[float]]:
    return [list((turn.probabilities or turn.values).values()) for turns in predicted for turn in turns]


@pytest.fixture(scope="module")
def trained():
    return random_trained(multimodal())


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    exported.write(trained, folder, "float32")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A folder without sums, as those who attack would make sums that fit."""
    return Path(shutil.copytree(written, tmp_path / "folder", ignore=shutil.ignore_patterns("SHA256SUMS")))


@pytest.mark.parametrize(
    ("settings", "labels"),
    [
        ({}, LABELS),
        ({"modalities": "u", "model__encoder__pooling": "mean"}, VALUES),
        ({"modalities": "av"}, LABELS),
        ({"modalities": "ua", "model__utterance": "features"}, VALUES),
    ],
)
def test_everything_comes_back_bit_for_bit(settings, labels, tmp_path):
    trained = random_trained(multimodal(**settings), labels=labels)
    trained.config.data.source, trained.config.data.cache = "/home/me/corpus", "/home/me/cache"
    trained.config.model.encoder.pretrained, trained.config.train.init_from = "/home/me/mpnet", "~/run"
    exported.write(trained, tmp_path, "float32")
    found = exported.read(tmp_path)
    assert jax.tree.structure(found.params) == jax.tree.structure(trained.params)
    for (path, value), expected in zip(
        jax.tree.leaves_with_path(found.params), jax.tree.leaves(trained.params), strict=True
    ):
        assert value.dtype == np.float32 and np.asarray(value).tobytes() == np.asarray(expected).tobytes(), path
    assert found.manifest == trained.manifest and found.step == trained.step
    assert found.normalization.sizes == trained.normalization.sizes
    for kind in ("mean", "std"):
        for name, vector in getattr(trained.normalization, kind).items():
            np.testing.assert_array_equal(getattr(found.normalization, kind)[name], vector)
    assert found.normalization.bound == trained.normalization.bound == 10.0
    assert "/home/me" not in (tmp_path / "config.json").read_text()
    assert str(Path.home()) not in (tmp_path / "config.json").read_text()
    trained.config.data.source = trained.config.data.cache = ""
    trained.config.model.encoder.pretrained, trained.config.train.init_from = "mpnet", "run"
    assert to_dict(found.config) == to_dict(trained.config) and found.name == trained.config.name
    files = {"config.json", "model.safetensors", "SHA256SUMS"}
    files |= {"tokenizer.json"} if trained.config.model.reads_text else set()
    files |= {"normalization.safetensors"} if trained.normalization.sizes else set()
    assert {file.name for file in tmp_path.iterdir()} == files
    given = conversations(5, 1, 9, absent=())
    assert numbers(Predictor(found).predict(given)) == numbers(Predictor(trained).predict(given))


def test_float16_halves_the_weights_and_changes_little(trained, written, tmp_path):
    exported.write(trained, tmp_path, "float16")
    sizes = [(one / "model.safetensors").stat().st_size for one in (tmp_path, written)]
    assert sizes[0] < 0.65 * sizes[1]
    found, given = exported.read(tmp_path), conversations(5, 1, 9, absent=())
    jax.tree.map(np.testing.assert_array_equal, found.params, exported.rounded(trained.params, "float16"))
    difference = np.abs(np.subtract(*(numbers(Predictor(one).predict(given)) for one in (found, trained))))
    assert 0 < difference.max() < 1e-2


def test_what_float16_cannot_hold_is_refused(trained, tmp_path):
    params = jax.tree.map(lambda x: x * 1e6, trained.params)
    with pytest.raises(InputError, match=r"parameter \S+: expected numbers that float16 can hold, found \d"):
        exported.write(dataclasses.replace(trained, params=params), tmp_path, "float16")


def test_another_process_elsewhere_predicts_the_same_without_run_and_corpus(trained, written, tmp_path):
    """From a folder, and from the hub's own cache, which holds links."""
    repository, snapshot = tmp_path / "hf/hub/models--ann--moods", "0" * 40
    for name in ("blobs", f"snapshots/{snapshot}", "refs"):
        (repository / name).mkdir(parents=True)
    (repository / "refs/main").write_text(snapshot)
    for number, file in enumerate(sorted(written.iterdir())):
        shutil.copy(file, repository / f"blobs/{number}")
        (repository / f"snapshots/{snapshot}" / file.name).symlink_to(f"../../blobs/{number}")
    shutil.copytree(written, tmp_path / "elsewhere/moods")
    given = conversations(3, 8, absent=())
    turns = [
        [
            {"speaker": turn.speaker, "text": turn.text}
            | {name: matrix[index].tolist() for name, matrix in one.features.items()}
            for index, turn in enumerate(one.turns)
        ]
        for one in given
    ]
    (tmp_path / "elsewhere/given.json").write_text(json.dumps(turns))
    code = (
        "import json, dtrm_jax\n"
        "given = json.load(open('given.json'))\n"
        "def numbers(source):\n"
        "    predicted = dtrm_jax.load(source).predict(given)\n"
        "    return [list(turn.probabilities.values()) for turns in predicted for turn in turns]\n"
        "print(json.dumps([numbers('moods'), numbers('ann/moods')]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "elsewhere",
        env=environment(tmp_path) | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    expected = numbers(Predictor(trained).predict(given))
    assert json.loads(found.stdout) == [expected, expected]


def test_what_the_hub_does_not_have_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = []

    def snapshot_download(name, *, allow_patterns):
        asked.append((name, allow_patterns))
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(InputError) as caught:
        dtrm_jax.load("ann/moods")
    message = str(caught.value)
    assert message.startswith(
        "model 'ann/moods': no such folder, and the Hugging Face hub did not deliver it (OSError: "
    )
    assert "give a run directory, or a folder that dtrm-export has written" in message and "\n" not in message
    files = ["config.json", "model.safetensors", "normalization.safetensors", "tokenizer.json", "SHA256SUMS"]
    assert asked == [("ann/moods", files)]
    with pytest.raises(InputError, match=r"/nowhere/at/all/config\.json: expected a run directory"):
        dtrm_jax.load("/nowhere/at/all")
    assert len(asked) == 1


def test_the_one_checkpoint_is_the_best(written, trained):
    assert read_trained(written).step == read_trained(written, checkpoint=str(trained.step)).step == trained.step
    with pytest.raises(InputError, match="expected the checkpoint 'best', which alone was exported, found 'latest'"):
        read_trained(written, checkpoint="latest")


def test_nothing_in_the_folder_is_executed(folder, tmp_path):
    trap = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
    for name in ("modeling.py", "__init__.py", "conftest.py", "configuration.py"):
        (folder / name).write_text(trap)
    values = json.loads((folder / "config.json").read_text())
    values |= {"auto_map": {"AutoModel": "modeling.Model"}, "custom_pipelines": {"x": {"impl": "modeling.Model"}}}
    (folder / "config.json").write_text(json.dumps(values))
    assert dtrm_jax.load(folder).labels == LABELS.names
    assert not (tmp_path / "executed").exists()


def changed(file: str, **arrays):
    """Writes a safetensors file anew, with arrays changed: by a function, or None to leave one out."""

    def change(folder):
        path = folder / file
        stored = safetensors.numpy.load_file(path)
        for name, new in arrays.items():
            name = name.replace("__", ".")
            if new is None:
                del stored[name]
            else:
                stored[name] = new(stored.get(name))
        safetensors.numpy.save_file(stored, path)

    return change


def raw(file: str, content: bytes):
    return lambda folder: (folder / file).write_bytes(content)


def header(**arrays) -> bytes:
    text = json.dumps(arrays).encode()
    return struct.pack("<Q", len(text)) + text


HUGE = {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}
BIAS, PATH = "discriminator__output__bias", r"discriminator\.output\.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (raw("model.safetensors", struct.pack("<Q", 1 << 40) + b"{}"), "expected a complete safetensors file"),
        (raw("model.safetensors", header(x=HUGE)), "expected a complete safetensors file"),
        (raw("model.safetensors", b""), "expected a complete safetensors file"),
        (raw("model.safetensors", b"\x80\x04cos\nsystem\n"), "expected a complete safetensors file"),
        (
            changed("model.safetensors", **{BIAS: None}),
            f"does not hold the model of config.json: missing 1 array: {PATH}",
        ),
        (changed("model.safetensors", more=lambda _: np.zeros(2, np.float32)), "unexpected 1 array: more"),
        (
            changed("model.safetensors", **{BIAS: lambda x: x[:-1]}),
            rf"wrong shape of 1 array: {PATH} \(expected \[5\], found \[4\]\)",
        ),
        (changed("model.safetensors", **{BIAS: np.float16}), rf"expected F32 in 1 array: {PATH} \(F16\)"),
        (changed("model.safetensors", **{BIAS: np.int32}), rf"expected F32 in 1 array: {PATH} \(I32\)"),
        (changed("normalization.safetensors", visual__std=None), r"missing 1 array: visual\.std"),
        (changed("normalization.safetensors", bound=None), "missing 1 array: bound"),
        (
            changed("normalization.safetensors", bound=lambda x: -x),
            r"normalization\.safetensors: bound: expected a number",
        ),
        (changed("normalization.safetensors", visual__mean=lambda x: x[1:]), r"wrong shape of 1 array: visual\.mean"),
        (lambda folder: (folder / "normalization.safetensors").unlink(), r"normalization\.safetensors: no such file"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            r"model\.safetensors: no such file, expected a folder",
        ),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json: no such file"),
        (raw("tokenizer.json", b"[" * 100_000), r"tokenizer\.json: expected a tokenizer"),
        (raw("config.json", b"[" * 100_000), r"config\.json: not valid JSON"),
        (raw("config.json", b'{"a":' * 100_000), r"config\.json: not valid JSON"),
        (raw("config.json", b"\xff\xfe"), r"config\.json: not valid JSON"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_line_that_names_it(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        dtrm_jax.load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def within(values, path, value):
    *sections, name = path.split(".")
    for part in sections:
        values = values[part]
    if value is None:
        del values[name]
    else:
        values[name] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_type", "bert", "model_type: expected 'dtrm_jax', found bert"),
        ("format", 2, "format: expected 1, which this version of dtrm_jax reads, found 2"),
        ("dtype", "float64", "dtype: expected one of float32, float16, found float64"),
        ("dtype", ["float32"], "dtype: expected one of float32, float16"),
        ("dtype", "float16", r"expected F16 in \d+ arrays"),
        ("step", -1, "step: expected a whole number"),
        ("settings", [], "settings: expected an object"),
        ("settings.train", None, "settings: config.train: setting is missing"),
        ("settings.tokens.window", "many", "settings: config.tokens.window: expected int"),
        ("settings.model.architecture", "os.system", "config.model.architecture: expected one of"),
        ("run", None, "run: expected an object, found nothing"),
        ("run.labels", [["x"]], "run: not the facts of a run"),
        ("run.labels", {}, "run: not the facts of a run"),
        ("run.encoder", None, "run: not the facts of a run"),
        ("run.encoder.family", "gpt", "run: not the facts of a run"),
        ("run.encoder.layers", 10**9, "layers: expected at most 1000, found 1000000000"),
        ("run.encoder.hidden_size", 10**12, r"config\.json: "),
        ("run.encoder.hidden_size", "wide", r"config\.json: "),
        ("run.encoder.heads", 0, r"config\.json: describes no model that can be built"),
        ("run.shape.rows", [[10**6, 10**6]], "expected packs of at most"),
        ("run.shape.rows", [["16", 2]], "expected whole numbers"),
        ("run.shape.utterances", 10**12, "expected packs of at most"),
        ("run.shape.features", [["visual", 10**9]], "expected packs of at most"),
        ("settings.tokens.max_length", 10**12, "settings: config.tokens.max_length: expected a number from"),
        ("settings.model.intra_modal.layers", 10**7, "layers: expected a number from 0 to 1000"),
    ],
)
def test_a_config_that_asks_for_anything_else_is_one_line(folder, path, value, message):
    values = json.loads((folder / "config.json").read_text())
    within(values, path, value)
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=message) as caught:
        exported.read(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("model.safetensors", b"", b""),
        ("normalization.safetensors", b"", b""),
        ("tokenizer.json", b'"w7"', b'"w6"'),
        ("config.json", b'"window": ', b'"window": 1'),
        ("SHA256SUMS", b"a", b"b"),
        ("SHA256SUMS", b"model", b"m\xffdel"),
    ],
)
def test_what_is_not_as_it_was_exported_is_never_silent(written, tmp_path, name, old, new):
    folder = Path(shutil.copytree(written, tmp_path / "folder"))
    content = (folder / name).read_bytes()
    # The last bits of an array's numbers, which no other check can know.
    changed = content.replace(old, new, 1) if old else content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]
    (folder / name).write_bytes(changed)
    with pytest.raises(InputError, match=r"SHA256SUMS|the file is damaged") as caught:
        dtrm_jax.load(folder)
    assert str(folder / name) in str(caught.value) or name == "SHA256SUMS"
    assert str(caught.value).endswith(f"delete {folder / 'SHA256SUMS'}")
    (folder / name).write_bytes(content)
    dtrm_jax.load(folder)
    (folder / "SHA256SUMS").unlink()
    dtrm_jax.load(folder)  # as older folders are


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "normalization.safetensors", "tokenizer.json"])
def test_no_link_leads_out_of_the_folder(folder, tmp_path, name):
    outside = tmp_path / "outside" / name
    outside.parent.mkdir()
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(InputError, match=f"{name}: expected a file of this folder, found a link to {outside}"):
        exported.read(folder)
    (folder / name).unlink()
    outside.rename(folder / f"other-{name}")
    (folder / name).symlink_to(f"other-{name}")
    assert exported.read(folder).manifest.labels == LABELS


def test_sums_are_no_link_out_of_the_folder(folder, tmp_path):
    (folder / "SHA256SUMS").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="SHA256SUMS: no such file"):
        exported.read(folder)
    (tmp_path / "outside").write_text("secret\n")
    with pytest.raises(InputError, match="SHA256SUMS: expected a file of this folder, found a link to"):
        exported.read(folder)


def test_no_link_leads_out_of_what_looks_like_the_hubs_cache(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    shutil.move(folder / "model.safetensors", tmp_path / "outside/model")
    snapshot = tmp_path / "repository/snapshots/1"
    shutil.copytree(folder, snapshot)
    (tmp_path / "repository/blobs").symlink_to(tmp_path / "outside")
    (snapshot / "model.safetensors").symlink_to("../../blobs/model")
    with pytest.raises(InputError, match="found a link to .*outside/model"):
        exported.read(snapshot)


@pytest.mark.parametrize("kind", ["loop", "pipe", "folder"])
def test_what_is_no_file_is_not_opened(folder, kind):
    path = folder / "model.safetensors"
    path.unlink()
    make = {"loop": lambda: path.symlink_to(path.name), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}
    make[kind]()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        exported.read(folder)


@pytest.mark.parametrize(("name", "largest"), [("config.json", 1 << 24), ("tokenizer.json", 1 << 29)])
def test_a_file_of_gigabytes_is_not_read(folder, name, largest):
    with open(folder / name, "r+b") as file:
        file.truncate(largest + 1)
    with pytest.raises(InputError, match=rf"{name}: expected at most {largest} bytes, found {largest + 1}"):
        dtrm_jax.load(folder)
