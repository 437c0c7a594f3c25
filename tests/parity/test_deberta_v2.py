"""Our DeBERTa-v2 against transformers' DebertaV2Model: same weights, same inputs, float32."""

import jax
import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position  # noqa: E402

from dtrm_jax.models.encoders.deberta_v2 import DebertaV2Config  # noqa: E402
from tests.packed import pack, sequences_of  # noqa: E402
from tests.weight_files import load, load_folder, read_sizes  # noqa: E402

TOLERANCE = 1e-5
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
    "in rows of two lengths": ((17, ((0, 6, 4), (5, 2))), (31, ((1, ), (3,)))),
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def folder(request, tmp_path_factory):
    config = transformers.DebertaV2Config(**SIZES | request.param)
    torch.manual_seed(0)
    model = transformers.DebertaV2ForMaskedLM(config)
    with torch.no_grad():
        # Fresh weights are almost zero and fresh biases are zero: neither would show a mistake.
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.3)
    path = tmp_path_factory.mktemp("deberta")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder):
    sizes, params = load_folder(DebertaV2Config, folder)
    return sizes.module(np.float32, remat=False, name=None), params


@pytest.fixture(scope="module")
def theirs(folder):
    return transformers.DebertaV2Model.from_pretrained(folder, attn_implementation="eager").eval()


def run(ours, arrays, rows, read_U=None):
    """Returns our states, dropout off."""
    module, params = ours
    forward = jax.jit(lambda params: module.apply({"params": params}, *arrays, rows, read_U=read_U, deterministic=True))
    return np.asarray(forward(params))


def alone(theirs, sequence):
    ids, types = (torch.tensor(x)[None] for x in sequence)
    return theirs(input_ids=ids, token_type_ids=types).last_hidden_state[0]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_hidden_state_equals_pytorch_on_each_sequence_alone(ours, theirs, layout):
    sequences = sequences_of(LENGTHS, SIZES["vocab_size"])
    arrays, rows, slots = pack(sequences, layout)
    states = run(ours, arrays, rows)
    assert len(slots) == len(LENGTHS)
    for member, where in slots.items():
        with torch.no_grad():
            expected = alone(theirs, sequences[member]).numpy()
        np.testing.assert_allclose(states[where], expected, rtol=0, atol=TOLERANCE, err_msg=f"sequence {member}")
