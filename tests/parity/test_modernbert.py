"""Our ModernBERT against transformers' ModernBertModel: same weights, same inputs, float32."""

import json

import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from dtrm_jax.models import encoders  # noqa: E402
from dtrm_jax.models.encoders.weights import load_params  # noqa: E402
from tests.packed import padded, sequences_of  # noqa: E402
from tests.parity.comparison import (  # noqa: E402
    assert_gradients_equal,
    assert_read_states_equal,
    assert_states_equal,
    backward_of_first_states,
    gradients_of_first_states,
)

SIZES = {
    "vocab_size": 61,
    "hidden_size": 12,
    "num_hidden_layers": 5,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 32,
    "global_attn_every_n_layers": 2,
    "local_attention": 6,
    "pad_token_id": 0,
    "reference_compile": False,
}
VARIANTS = {
    "published": {},
    "biases": {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
    "one base of frequencies": {"local_rope_theta": None, "global_rope_theta": 300.0},
    "odd local attention": {"local_attention": 5, "global_attn_every_n_layers": 3},
    "one layer": {"num_hidden_layers": 1},
}
# Longer than the local window; several per row, in rows of two lengths.
LENGTHS = (3, 23, 1, 30, 5, 2, 9)
LAYOUTS = {
    "alone": ((30, ((0,), (1,), (2,), (3,), (4,), (5,), (6,))),),
    "in one row": ((75, ((6, 0, 1, 2, 3, 4, 5),)),),
    "in rows of two lengths": ((17, ((0, 6, 4), (5, 2))), (31, ((1,), (3,)))),
}
CASES = [(variant, "in rows of two lengths") for variant in VARIANTS]
CASES += [("published", layout) for layout in LAYOUTS if layout != "in rows of two lengths"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for every variant, with the head of masked language modelling."""

    def make(variant):
        config = transformers.ModernBertConfig(**SIZES | VARIANTS[variant], attn_implementation="eager")
        torch.manual_seed(0)
        model = transformers.ModernBertForMaskedLM(config)
        with torch.no_grad():
            # Fresh weights are almost zero and fresh biases are zero: neither would show a mistake.
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if "norm.weight" in name else 0.0, 0.3)
        path = tmp_path_factory.mktemp("modernbert")
        model.save_pretrained(path)
        return path

    return {variant: make(variant) for variant in VARIANTS}


def read(folder):
    encoder = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    theirs = transformers.ModernBertModel.from_pretrained(folder, attn_implementation="eager").eval()
    return encoder.module(np.float32, remat=False, name=None), load_params(folder, encoder), theirs


def alone(theirs, sequence):
    return theirs(input_ids=torch.tensor(sequence[0])[None]).last_hidden_state[0]


@pytest.mark.parametrize(("variant", "layout"), CASES)
def test_every_hidden_state_equals_pytorch_on_each_sequence_alone(folders, variant, layout):
    module, params, theirs = read(folders[variant])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    assert_states_equal(module, params, sequences, LAYOUTS[layout], lambda one: alone(theirs, one))


def test_states_read_at_some_slots_and_a_padded_batch_of_theirs(folders):
    module, params, theirs = read(folders["biases"])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    ids, _, mask = (torch.tensor(x) for x in padded(sequences))
    with torch.no_grad():
        states = theirs(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
    assert_read_states_equal(module, params, sequences, LAYOUTS["in rows of two lengths"], states)


def test_gradients_equal_pytorch(folders, tmp_path):
    module, params, theirs = read(folders["biases"])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    weights = np.random.default_rng(1).normal(size=(len(LENGTHS), SIZES["hidden_size"])).astype(np.float32)
    found = gradients_of_first_states(module, params, sequences, LAYOUTS["in rows of two lengths"], weights)
    backward_of_first_states(sequences, weights, lambda one: alone(theirs, one))
    gradients = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    # Into our tree the way weights get there.
    safetensors.numpy.save_file(gradients, tmp_path / "model.safetensors")
    expected = load_params(tmp_path, module.config)
    assert_gradients_equal(found, expected, max(np.abs(value).max() for value in gradients.values()))


def test_arrays_of_the_published_size(tmp_path):
    config = transformers.ModernBertConfig()
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        expected = {name: tuple(x.shape) for name, x in transformers.ModernBertModel(config).named_parameters()}
    encoder = encoders.read_encoder(tmp_path, dropout=0.1, attention_dropout=0.1)
    assert {name: target.shape for name, target in encoder.arrays().items()} == expected


@pytest.mark.parametrize(
    "key",
    ["hidden_activation", "global_attn_every_n_layers", "local_attention", "global_rope_theta", "local_rope_theta"]
    + ["norm_eps", "norm_bias", "attention_bias", "mlp_bias"],
)
def test_a_file_without_a_setting_means_what_it_means_to_transformers(tmp_path, key):
    values = transformers.ModernBertConfig().to_dict()
    # No value of these is transformers' own.
    values |= {"global_attn_every_n_layers": 2, "local_attention": 6, "global_rope_theta": 300.0, "norm_eps": 1e-3}
    values |= {"local_rope_theta": 200.0, "norm_bias": True, "attention_bias": True, "mlp_bias": True}
    del values[key]
    (tmp_path / "config.json").write_text(json.dumps(values))
    encoder = encoders.read_encoder(tmp_path, dropout=0.1, attention_dropout=0.1)
    theirs = transformers.ModernBertConfig.from_pretrained(tmp_path)
    assert encoder.global_every == theirs.global_attn_every_n_layers
    assert encoder.reach == theirs.local_attention // 2
    assert encoder.global_theta == theirs.global_rope_theta and encoder.local_theta == theirs.local_rope_theta
    assert encoder.layer_norm_eps == theirs.norm_eps
    for name in ("norm_bias", "attention_bias", "mlp_bias"):
        assert getattr(encoder, name) == getattr(theirs, name)
