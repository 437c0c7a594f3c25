"""A table of hostile inputs: each ends in one line that names the file, or is read as what it is."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from dtrm_jax.config import DataConfig
from dtrm_jax.data import corpus
from dtrm_jax.data.encoder_tokenizer import load_tokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders import weights
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.special_tokens import BERT_TOKENS
from dtrm_jax.tensor_file import finite
from tests import field_files
from tests.faults import outcome

ROWS = [
    {"conversation": "a", "turn": 1, "speaker": "Ann", "text": "Hi.", "label": "joy"},
    {"conversation": "a", "turn": 2, "speaker": "Bob", "text": "Oh.", "label": "sad"},
    {"conversation": "b", "turn": 1, "speaker": "Ann", "text": "So.", "label": "joy"},
]
HALF = "\ud800"
REFUSED, READ = "refused", "read"


def rows(**change):
    """The rows, the second one changed."""
    return [ROWS[0], ROWS[1] | change, ROWS[2]]


def jsonl(changed):
    return lambda folder: (folder / "train.jsonl").write_text("\n".join(map(json.dumps, changed)))


def valued(value):
    own = [{key: cell for key, cell in row.items() if key != "label"} | {"value_x": 0.5} for row in ROWS]
    own[1]["value_x"] = value
    return jsonl(own)


def parquet(folder):
    texts = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(np.int32([0, 1, 2, 3]).tobytes()), pa.py_buffer(b"a\xffb")]
    )
    plain = {name: [str(row[name]) for row in ROWS] for name in ("conversation", "turn", "speaker", "label")}
    pq.write_table(pa.table({**plain, "text": texts}), folder / "train.parquet")


def npz(write):
    def make(folder):
        jsonl(ROWS)(folder)
        write(folder / "train.npz")

    return make


def header(shape, dtype="'<f4'"):
    """An npz file whose one array says more than it holds."""

    def write(path):
        text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
        text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("acoustic.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 48)

    return write


def renamed(path):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2), np.float32))
    path.write_bytes(buffer.getvalue())


def objects(path):
    np.savez(path, acoustic=np.array([[{}, 1], [2, 3], [4, 5]], dtype=object))


def csv_of(text):
    return lambda folder: (folder / "train.csv").write_text(text, encoding="utf-8")


HEADER = "conversation,turn,speaker,text,label\n"
LONG = "7" * 5000
# What is tried, how it is made in a folder, and what becomes of it as a table.
TABLES = {
    "half of a surrogate pair as conversation": (jsonl(rows(conversation=HALF)), "line 2: expected Unicode"),
    "half of a surrogate pair as turn": (jsonl(rows(turn=HALF)), "line 2: expected Unicode"),
    "half of a surrogate pair as speaker": (jsonl(rows(speaker=HALF)), "line 2: expected Unicode"),
    "half of a surrogate pair as text": (jsonl(rows(text=HALF)), "line 2: expected Unicode"),
    "half of a surrogate pair as label": (jsonl(rows(label=HALF)), "line 2: expected Unicode"),
    "half of a surrogate pair as column": (jsonl(rows(**{"value_" + HALF: 1})), "line 2: expected Unicode"),
    "a whole pair": (jsonl(rows(text="\U0001f600")), ""),
    "a label with a line break": (jsonl(rows(label="a\nb")), "expected labels in one line of text, found 'a\\nb'"),
    "a label with a carriage return": (jsonl(rows(label="a\rb")), "expected labels in one line of text"),
    "a label with a line separator": (jsonl(rows(label="a\u2028b")), "expected labels in one line of text"),
    "a label with an escape": (jsonl(rows(label="\x1b[31mjoy")), "expected labels in one line of text"),
    "a value's name with a line break": (
        jsonl([{"conversation": "a", "turn": 1, "speaker": "A", "text": "x", "value_a\nb": 1.0}]),
        "expected columns in one line of text",
    ),
    "parquet that is no UTF-8": (parquet, "cannot be read as parquet"),
    "an npz without columns": (npz(lambda path: np.savez(path, acoustic=np.zeros((3, 0)))), "found float64 (3, 0)"),
    "an npz that claims 12 TiB": (npz(header((3, 2**40))), "says that it has the shape"),
    "an npz of a negative shape": (npz(header((-3, -4))), "acoustic"),
    "an npz with half an array": (npz(header((3, 5))), "says that it has the shape"),
    "an npy renamed": (npz(renamed), "expected a complete .npz file"),
    "an npz of objects": (npz(objects), "found Python objects, which are not read"),
    "an npz of text": (npz(lambda path: path.write_bytes(b"hello")), "expected a complete .npz file"),
    "an npz that is fine": (npz(lambda path: np.savez(path, acoustic=np.eye(3))), ""),
    "an id of 5,000 digits": (csv_of(f"{HEADER}{LONG},{LONG},Ann,Hi,joy\na,{LONG[1:]},Ann,So,sad\n"), ""),
    "a label of 5,000 digits": (csv_of(f"{HEADER}a,1,Ann,Hi,{LONG}\na,2,Bob,So,1\n"), ""),
    "a number of 5,000 digits": (
        lambda f: (f / "train.jsonl").write_text(f"[{LONG}]"),
        "thousands of digits",
    ),
    "a label of -(2^64-1)": (jsonl(rows(label=-(2**64 - 1))), ""),
    "a value that float32 cannot hold": (valued(1e39), "line 2: value_x: expected a number from -1e+12"),
    "a value whose square float32 cannot hold": (valued(1e25), "line 2: value_x: expected a number from -1e+12"),
    "a value of 1e400": (
        lambda folder: (folder / "train.jsonl").write_text(
            '{"conversation": 1, "turn": 1, "speaker": "a", "text": "b", "value_x": 1e400}'
        ),
        "line 1: value_x: expected a number from",
    ),
    "a feature that float32 cannot hold": (
        jsonl([{**row, "acoustic": [1.0, 1e39]} for row in ROWS]),
        "line 1: acoustic features: expected finite",
    ),
    "100,000 brackets": (lambda folder: (folder / "train.json").write_text("[" * 100_000), "nested too deeply"),
    "carriage returns alone": (csv_of((HEADER + "a,1,Ann,Hi,joy\n").replace("\n", "\r")), ""),
    "a quote that never ends": (csv_of(HEADER + 'a,1,Ann,"Hi,joy\n' + "x" * 200_000), "line 2: not a CSV row"),
    "an utterance of 200,000 characters": (csv_of(f"{HEADER}a,1,Ann,{'x' * 200_000},joy\n"), ""),
    "numbers with underscores": (
        csv_of("conversation,turn,speaker,text,value_x\na,1,A,x,1_0\n"),
        "line 2: value_x: expected a number",
    ),
    "labels.txt in one line": (
        lambda folder: (jsonl(ROWS)(folder), (folder / "labels.txt").write_text("joy\u2028sad")),
        "labels.txt: expected labels in one line of text",
    ),
}


@pytest.mark.parametrize("title", TABLES)
def test_a_hostile_table(title, tmp_path):
    make, expected = TABLES[title]
    make(tmp_path)
    config = DataConfig(name="table", source=str(tmp_path), cache=str(tmp_path / "cache"))
    dataset, line = outcome.of(lambda: corpus.load(config), str(tmp_path))
    assert (dataset is None) == bool(expected) and expected in line, line
    if dataset is not None:
        assert corpus.load(config) == dataset


def meld(folder, change):
    """MELD's csv files, with the authors' vectors changed."""
    made = {split: {"0_0": np.ones(3, np.float32)} for split in ("train", "dev", "test")}
    for split in made:
        text = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\nHi.,Ann,joy,0,0\n"
        (folder / f"{split}_sent_emo.csv").write_text(text)
    made["dev"]["0_0"] = change
    field_files.meld_vectors(folder / "audio.p", made)


def labels(change):
    """COSMIC's file with the labels of conversation "a" changed."""

    def make(folder):
        made = field_files.make({"train": ["a"], "dev": ["b"], "test": ["c"]}, turns=lambda _: 2)
        made.labels["a"] = change
        field_files.cosmic(folder / "iemocap.pkl", made)

    return make


def acoustic(change):
    """A file of features with the acoustic ones of conversation "a" changed."""

    def make(folder):
        made = field_files.make({"train": ["a"], "test": ["c"]}, turns=lambda _: 2)
        made.features["acoustic"]["a"] = change
        field_files.iemocap_features(folder / "iemocap.pkl", made)

    return make


PICKLES = {
    "a ragged vector of MELD's authors": (
        "meld",
        lambda f: meld(f, [[1.0], [2.0, 3.0]]),
        "dev utterance 0_0: expected 3",
    ),
    "a vector of strings": ("meld", lambda f: meld(f, ["1", "2", "3"]), "dev utterance 0_0: expected 3 numbers"),
    "a string for a vector": ("meld", lambda f: meld(f, "123"), "dev utterance 0_0: expected 3 numbers, found str"),
    "a vector of infinity": ("meld", lambda f: meld(f, [1e39, 0.0, 0.0]), "dev utterance 0_0: expected 3 finite"),
    "a matrix for a vector": ("meld", lambda f: meld(f, np.ones((3, 1))), "dev utterance 0_0: expected 3 numbers"),
    "a label of -(2^64-1) in a pickle": ("iemocap", labels([-(2**64 - 1), 0]), "turn 0: expected a finite"),
    "a label of 2^63 in a pickle": ("iemocap", labels([0, 2**63]), "turn 1: expected a finite"),
    "an array without rows": ("iemocap", acoustic(np.zeros((0, 4), np.float32)), "iemocap.pkl"),
    "an array without columns": ("iemocap", acoustic(np.zeros((2, 0), np.float32)), "iemocap.pkl"),
    "a flat array": ("iemocap", acoustic(np.zeros(2, np.float32)), "iemocap.pkl"),
    "an array of truth values": ("iemocap", acoustic(np.ones((2, 1024), bool)), "iemocap.pkl"),
}


@pytest.mark.parametrize("title", PICKLES)
def test_a_hostile_pickle(title, tmp_path):
    name, make, expected = PICKLES[title]
    make(tmp_path)
    config = DataConfig(name=name, source=str(tmp_path), cache=str(tmp_path / "cache"))
    dataset, line = outcome.of(lambda: corpus.load(config), str(tmp_path))
    assert dataset is None and expected in line, line


def tokenizer_json(**change):
    vocabulary = {token: index for index, token in enumerate([*BERT_TOKENS.all, "hi", "[OWN]"])}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    } | change


def model_folder(folder, change):
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(**change)))
    return load_tokenizer(folder, BERT_TOKENS, 100).encode(["hi there"])


RATES = {"dropout": 0.0, "attention_dropout": 0.0}
UNKNOWN = tokenizer_json()["model"] | {"unk_token": "[NONE]"}
# What is tried, how it is read in a folder, and what is said.
MODELS = {
    "config.json of 100,000 brackets": (
        lambda f: (f / "config.json").write_text("[" * 100_000) and encoders.read_encoder(f, **RATES),
        "config.json: not valid JSON: nested too deeply",
    ),
    "an unknown token that is missing": (
        lambda f: model_folder(f, {"model": UNKNOWN}),
        "tokenizer.json: expected a tok",
    ),
    "a damaged character map": (
        lambda f: model_folder(f, {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}),
        "tokenizer.json: expected a tokenizer of the tokenizers library",
    ),
    "a character map that points beyond itself": (
        lambda f: model_folder(f, {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8AAAAA"}}),
        "tokenizer.json: expected a tokenizer",
    ),
    "a tokenizer of brackets": (
        lambda f: (f / "tokenizer.json").write_text("[" * 100_000) and load_tokenizer(f, BERT_TOKENS, 9),
        "tokenizer.json: expected a tokenizer",
    ),
    "NaN among the weights": (
        lambda f: finite(f / "model.safetensors", "embeddings", np.float32([1, np.nan])),
        "model.safetensors: embeddings: expected finite numbers",
    ),
    "a header of gigabytes": (
        lambda f: (
            (f / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
            and weights.load_params(f, _encoder())
        ),
        "model.safetensors: expected a complete safetensors file",
    ),
    "statistics of no spread": (
        lambda f: (
            np.savez(f / "n.npz", **{"a/mean": np.zeros(2, np.float32), "a/std": np.zeros(2, np.float32)})
            or Normalization.load(f / "n.npz")
        ),
        "n.npz: expected a mean and a positive standard deviation",
    ),
    "statistics of one kind": (
        lambda f: np.savez(f / "n.npz", **{"a/mean": np.zeros(2, np.float32)}) or Normalization.load(f / "n.npz"),
        "n.npz: expected a mean and a positive standard deviation",
    ),
    "run.json with a list of labels": (
        lambda f: (f / "run.json").write_text('{"labels": ["joy"]}') and RunDirectory(f).read_manifest(),
        "run.json: not the manifest of a run",
    ),
    "run.json with no labels": (
        lambda f: (f / "run.json").write_text('{"labels": {}}') and RunDirectory(f).read_manifest(),
        "run.json: not the manifest of a run",
    ),
    "run.json that is a list": (
        lambda f: (f / "run.json").write_text("[1]") and RunDirectory(f).read_manifest(),
        "run.json: not the manifest of a run",
    ),
}


def _encoder():
    from tests.factories import tiny_config, tiny_encoder

    return tiny_encoder(tiny_config())


@pytest.mark.parametrize("title", MODELS)
def test_a_hostile_model(title, tmp_path, capfd):
    read, expected = MODELS[title]
    _, line = outcome.of(lambda: read(tmp_path), str(tmp_path))
    assert expected in line, line
    assert capfd.readouterr().err == ""  # nor does Rust say anything


def test_nan_in_pretrained_weights_is_named(tmp_path):
    encoder = _encoder()
    arrays = {name: np.zeros(target.shape, np.float32) for name, target in encoder.arrays().items()}
    worst = list(arrays)[3]
    arrays[worst].flat[0] = np.nan
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    _, line = outcome.of(lambda: weights.load_params(tmp_path, encoder), str(tmp_path))
    assert f"model.safetensors: {worst}: expected finite numbers, found NaN or infinity" in line


def test_a_log_of_training_with_damaged_lines_is_read(tmp_path):
    good = {"step": 1, "split": "train", "loss": 0.5}
    lines = [
        json.dumps(good).encode(),
        b"[1]",
        b"\xff\xfe",
        b"7",
        b"[" * 100_000,
        b'{"step": "x"}',
        json.dumps(good).encode(),
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert list(read_records(tmp_path / "metrics.jsonl", damaged=True)) == [good, good]


def test_the_counts(count):
    """What the page on reliability says; the tests above have tried them all."""
    tables = [expected for _, expected in TABLES.values()]
    others = len(PICKLES) + len(MODELS)
    count(
        "Hostile data files, one by one",
        tried=len(tables) + others,
        refused=sum(map(bool, tables)) + others,
        read=tables.count(""),
        tracebacks=0,
        hangs=0,
    )
