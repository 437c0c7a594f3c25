"""Every encoder family against transformers' PyTorch class: same weights, same inputs, float32."""

import warnings

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from dtrm_jax.models import encoders  # noqa: E402
from dtrm_jax.models.encoders.weights import load_params  # noqa: E402
from tests.encoder_families import FAMILIES  # noqa: E402
from tests.packed import pack, sequences_of  # noqa: E402
from tests.parity.comparison import (  # noqa: E402
    TOLERANCE,
    assert_gradients_equal,
    assert_states_equal,
    backward_of_first_states,
    gradients_of_first_states,
)

# Up to the longest that the positions admit; several per row, in rows of two lengths.
LENGTHS = (3, 23, 1, 33, 5, 2, 9)
LAYOUTS = {
    "alone": ((33, ((0,), (1,), (2,), (3,), (4,), (5,), (6,))),),
    "in one row": ((76, ((6, 0, 1, 2, 3, 4, 5),)),),
    "in rows of two lengths": ((17, ((0, 6, 4), (5, 2))), (33, ((1,), (3,)))),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    """A folder as transformers writes it, of a model with the head of masked language modelling."""
    config, torch_class = FAMILIES[family].config, getattr(transformers, FAMILIES[family].masked)
    torch.manual_seed(0)
    model = torch_class(transformers.AutoConfig.for_model(**config))
    with torch.no_grad():
        # Fresh weights are almost zero and fresh biases are zero: neither would show a mistake.
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0, 0.3)
    path = tmp_path_factory.mktemp(family)
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pooling layer that is not in the file and not asked
        return transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def ours(folder):
    encoder = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    return encoder, encoder.module(np.float32, remat=False, name=None), load_params(folder, encoder)


def sequences(family):
    # From 2 on: transformers counts no position for the padding token, which is 1 for some.
    found = sequences_of(LENGTHS, FAMILIES[family].config["vocab_size"] - 1)
    return [(ids + 1, types if FAMILIES[family].takes_segments else 0 * types) for ids, types in found]


def alone(family, theirs, sequence):
    ids, types = (torch.tensor(x)[None] for x in sequence)
    segments = {"token_type_ids": types} if FAMILIES[family].takes_segments else {}
    return theirs(input_ids=ids, **segments).last_hidden_state[0]


def states_of(ours, arrays, rows, **settings):
    _, module, params = ours
    forward = jax.jit(lambda p: module.apply({"params": p}, *arrays, rows, deterministic=True, **settings))
    return np.asarray(forward(params))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_hidden_state_equals_pytorch_on_each_sequence_alone(family, ours, theirs, layout):
    assert ours[0].family == family and ours[0].longest >= max(LENGTHS)
    _, module, params = ours
    assert_states_equal(module, params, sequences(family), layout, lambda one: alone(family, theirs, one))


def test_states_read_at_some_slots_only(family, ours, theirs):
    arrays, rows, slots = pack(sequences(family), LAYOUTS["in rows of two lengths"])
    read = np.array([slots[member][-1] for member in range(len(LENGTHS))], np.int32)
    states = states_of(ours, arrays, rows, read_O=read)
    with torch.no_grad():
        expected = np.stack([alone(family, theirs, one)[-1].numpy() for one in sequences(family)])
    np.testing.assert_allclose(states, expected, rtol=0, atol=TOLERANCE)


def test_gradients_equal_pytorch(family, ours, theirs, folder, tmp_path):
    encoder, module, params = ours
    weights = np.random.default_rng(1).normal(size=(len(LENGTHS), encoder.hidden_size)).astype(np.float32)
    layout = LAYOUTS["in rows of two lengths"]
    found = gradients_of_first_states(module, params, sequences(family), layout, weights)
    theirs.zero_grad()
    backward_of_first_states(sequences(family), weights, lambda one: alone(family, theirs, one))
    # Into our tree the way weights get there.
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    theirs.save_pretrained(tmp_path)
    expected = load_params(tmp_path, encoder)
    assert_gradients_equal(found, expected, max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected)))
