"""Our DeBERTa-v2 against transformers' DebertaV2Model: same weights, same inputs, float32."""

import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position  # noqa: E402

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
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 6,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
}
# What each of the published models has, and the settings that none of them has.
VARIANTS = {
    "v3": {},
    "v2 xlarge": {"conv_kernel_size": 3, "conv_act": "gelu", "attention_head_size": 4},
    "convolution by default": {"conv_kernel_size": 5},
    "one layer with convolution": {"conv_kernel_size": 3, "num_hidden_layers": 1},
    "projections of their own": {"share_att_key": False},
    "content to position": {"share_att_key": False, "pos_att_type": ["c2p"]},
    "position to content": {"pos_att_type": ["p2c"]},
    "plain distances": {"position_buckets": -1, "max_relative_positions": 7, "norm_rel_ebd": "none"},
    "all distances": {"position_buckets": -1},
    "absolute positions": {"position_biased_input": True},
    "segments": {"type_vocab_size": 2},
    "narrow embeddings": {"embedding_size": 10, "type_vocab_size": 2, "position_biased_input": True},
}
# Longer than the buckets and the plain distances; several per row, in rows of two lengths.
LENGTHS = (3, 23, 1, 30, 5, 2, 9)
LAYOUTS = {
    "alone": ((30, ((0,), (1,), (2,), (3,), (4,), (5,), (6,))),),
    "in one row": ((75, ((6, 0, 1, 2, 3, 4, 5),)),),
    "in rows of two lengths": ((17, ((0, 6, 4), (5, 2))), (31, ((1,), (3,)))),
}


CASES = [(variant, "in rows of two lengths") for variant in VARIANTS]
CASES += [("v2 xlarge", layout) for layout in ("alone", "in one row")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for every variant, with the head of masked language modelling."""

    def make(variant):
        config = transformers.DebertaV2Config(**SIZES | VARIANTS[variant])
        torch.manual_seed(0)
        model = transformers.DebertaV2ForMaskedLM(config)
        with torch.no_grad():
            # Fresh weights are almost zero and fresh biases are zero: neither would show a mistake.
            for name, parameter in model.named_parameters():
                parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.3)
        path = tmp_path_factory.mktemp("deberta")
        model.save_pretrained(path)
        return path

    return {variant: make(variant) for variant in VARIANTS}


def read(folder):
    encoder = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    theirs = transformers.DebertaV2Model.from_pretrained(folder, attn_implementation="eager").eval()
    return encoder.module(np.float32, remat=False, name=None), load_params(folder, encoder), theirs


def alone(theirs, sequence):
    ids, types = (torch.tensor(x)[None] for x in sequence)
    return theirs(input_ids=ids, token_type_ids=types).last_hidden_state[0]


@pytest.mark.parametrize(("variant", "layout"), CASES)
def test_every_hidden_state_equals_pytorch_on_each_sequence_alone(folders, variant, layout):
    module, params, theirs = read(folders[variant])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    assert_states_equal(module, params, sequences, LAYOUTS[layout], lambda one: alone(theirs, one))


@pytest.mark.parametrize("variant", ["v2 xlarge", "one layer with convolution"])
def test_states_read_at_some_slots_and_a_padded_batch_of_theirs(folders, variant):
    module, params, theirs = read(folders[variant])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    ids, types, mask = (torch.tensor(x) for x in padded(sequences))
    with torch.no_grad():
        states = theirs(input_ids=ids, token_type_ids=types, attention_mask=mask).last_hidden_state.numpy()
    assert_read_states_equal(module, params, sequences, LAYOUTS["in rows of two lengths"], states)


@pytest.mark.parametrize("variant", ["v2 xlarge", "projections of their own"])
def test_gradients_equal_pytorch(folders, variant, tmp_path):
    module, params, theirs = read(folders[variant])
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    weights = np.random.default_rng(1).normal(size=(len(LENGTHS), SIZES["hidden_size"])).astype(np.float32)
    found = gradients_of_first_states(module, params, sequences, LAYOUTS["in rows of two lengths"], weights)
    backward_of_first_states(sequences, weights, lambda one: alone(theirs, one))
    gradients = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    # Into our tree the way weights get there.
    safetensors.numpy.save_file(gradients, tmp_path / "model.safetensors")
    expected = load_params(tmp_path, module.config)
    assert_gradients_equal(found, expected, max(np.abs(value).max() for value in gradients.values()))


@pytest.mark.parametrize(("buckets", "longest"), [(256, 512), (6, 32), (32, 128), (2, 9), (5, 30)])
def test_every_distance_falls_into_the_bucket_of_transformers(tmp_path, buckets, longest):
    sizes = {"position_buckets": buckets, "max_relative_positions": longest}
    transformers.DebertaV2Config(**SIZES | sizes).save_pretrained(tmp_path)
    encoder = encoders.read_encoder(tmp_path, dropout=0.1, attention_dropout=0.1)
    length = longest + 40
    bucket = make_log_bucket_position(torch.arange(1 - length, length), buckets, longest).long()
    expected = torch.clamp(bucket + buckets, 0, 2 * buckets - 1).numpy()
    np.testing.assert_array_equal(encoder.distance_rows(length), expected)


# As the published files say.
PUBLISHED = {
    "v3-base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "share_att_key": True,
        "position_buckets": 256,
    },
    "v2-xlarge": {
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "attention_head_size": 64,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
        "share_att_key": True,
        "position_buckets": 256,
    },
}


@pytest.mark.parametrize("values", PUBLISHED.values(), ids=PUBLISHED)
def test_arrays_of_the_published_sizes(tmp_path, values):
    config = transformers.DebertaV2Config(
        relative_attention=True,
        norm_rel_ebd="layer_norm",
        pos_att_type="p2c|c2p",
        position_biased_input=False,
        max_relative_positions=-1,
        **values,
    )
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        expected = {name: tuple(x.shape) for name, x in transformers.DebertaV2Model(config).named_parameters()}
    encoder = encoders.read_encoder(tmp_path, dropout=0.1, attention_dropout=0.1)
    assert {name: target.shape for name, target in encoder.arrays().items()} == expected
