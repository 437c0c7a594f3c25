"""What DeBERTa-v2 and ModernBERT have of their own, the convolution of DeBERTa included; see test_families.py too."""

import json
import pathlib
import tempfile

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from dtrm_jax.errors import InputError
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders.deberta_v2 import neighbours
from dtrm_jax.models.encoders.modernbert import rotate
from dtrm_jax.models.encoders.weights import load_params
from tests.golden import explicit
from tests.packed import pack

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
TOLERANCE = 1e-5
CONFIGS = {"deberta_v2": explicit.DEBERTA_V2_CONFIG, "modernbert": explicit.MODERNBERT_CONFIG}
RATES = {"dropout": 0.1, "attention_dropout": 0.1}
SEQUENCES = [(sequence.token_ids, sequence.segment_ids) for sequence in explicit.SEQUENCES]
# Row lengths, and the sequences of each row.
LAYOUTS = {
    "one sequence per row": ((8, ((0,), (1,), (2,), (3,), (4,))),),
    "packed in one row": ((31, ((4, 0, 1, 2, 3),)),),
    "packed in rows of two lengths": ((9, ((1, 3),)), (13, ((2, 0), (4,)))),
}
PACKED = LAYOUTS["packed in rows of two lengths"]


def read(name, change=(), **settings):
    """Returns the golden's sizes, with changes to its ``config.json``."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "config.json").write_text(json.dumps(CONFIGS[name] | dict(change)))
        return encoders.read_encoder(path, **RATES | settings)


def build(name, *, remat=False, **settings):
    """Returns a module of the golden's sizes and the golden's parameters."""
    encoder = read(name, **settings)
    weights = explicit.weights({name: target.shape for name, target in encoder.arrays().items()})
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        safetensors.numpy.save_file(weights, path / "model.safetensors")
        params = load_params(path, encoder)
    return encoder.module(np.float32, remat=remat, name=None), params


def run(module, params, layout=PACKED, **settings):
    arrays, rows, slots = pack(SEQUENCES, layout)
    settings = {"deterministic": True, **settings}
    states = jax.jit(lambda params: module.apply({"params": params}, *arrays, rows, **settings))(params)
    return np.asarray(states), slots


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_equals_pytorch_however_sequences_are_packed(name, layout):
    states, slots = run(*build(name), layout)
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        expected = file["states"]
    found = np.concatenate([states[slots[member]] for member in range(len(SEQUENCES))])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_states_at_read_slots_are_those_of_the_whole_axis(name):
    module, params = build(name)
    everywhere, slots = run(module, params)
    read_O = np.array([slots[2][3], slots[0][0], slots[2][3]], np.int32)
    found, _ = run(module, params, read_O=read_O)
    np.testing.assert_allclose(found, everywhere[read_O], rtol=0, atol=1e-6)


def test_no_gradient_crosses_from_one_sequence_of_a_row_to_another(name):
    """Each sequence has words of its own, so that the gradient in the word embeddings tells them apart."""
    module, params = build(name)
    words = {0: range(1, 8), 1: range(8, 17), 2: range(17, 20)}
    sequences = [(np.array(ids), np.arange(len(ids)) > 2) for ids in words.values()]
    arrays, rows, slots = pack(sequences, ((20, ((0, 1, 2),)),))
    (word_embedding,) = [key for key in params["embeddings"] if key in ("word_embeddings", "tok_embeddings")]

    @jax.jit
    def gradient(weight_TxD):
        def total(params):
            return (module.apply({"params": params}, *arrays, rows, deterministic=True) * weight_TxD).sum()

        return jax.grad(total)(params)["embeddings"][word_embedding]["embedding"]

    for member, ids in words.items():
        weight_TxD = np.zeros((20, 12), np.float32)
        weight_TxD[slots[member]] = explicit.array((len(ids), 12), 7)
        used = np.flatnonzero(np.asarray(gradient(weight_TxD)).any(axis=1))
        assert set(used) == set(ids)


def test_a_deberta_with_segments_of_its_own_learns_no_others():
    module, params = build("deberta_v2", learned_segments=True)
    arrays, rows, _ = pack(SEQUENCES, PACKED)
    fresh = jax.eval_shape(lambda: module.init(jax.random.key(0), *arrays, rows, deterministic=True)["params"])
    assert flatten_dict(fresh).keys() == flatten_dict(params).keys()


def test_recomputing_layers_changes_no_gradient(name):
    arrays, rows, _ = pack(SEQUENCES, PACKED)
    weight_TxD = explicit.array((len(arrays[0]), 12), 3)

    def gradient(remat):
        module, params = build(name, remat=remat)
        rngs = {"dropout": jax.random.key(1)}

        def total(params):
            return (module.apply({"params": params}, *arrays, rows, deterministic=False, rngs=rngs) * weight_TxD).sum()

        assert ("remat" in str(jax.make_jaxpr(total)(params))) == remat
        return jax.jit(jax.grad(total))(params)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), gradient(False), gradient(True))


def test_states_in_bfloat16_are_near(name):
    module, params = build(name)
    expected, slots = run(module, params)
    found, _ = run(module.clone(dtype=jnp.bfloat16), params)
    assert found.dtype == jnp.bfloat16
    used = np.concatenate(list(slots.values()))
    assert 1e-4 < np.abs(found.astype(np.float32) - expected)[used].max() < 0.3


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout"])
def test_both_rates_of_dropout_arrive(name, rate):
    _, params = build(name)
    sizes = {r: read(name, **{"dropout": 0.0, "attention_dropout": 0.0, rate: r}) for r in (0.0, 0.5)}
    expected, _ = run(*build(name))
    for r, of_rate in sizes.items():
        module = of_rate.module(np.float32, remat=False, name=None)
        found, slots = run(module, params, deterministic=False, rngs={"dropout": jax.random.key(0)})
        used = np.concatenate(list(slots.values()))
        assert np.allclose(found[used], expected[used], atol=1e-5) == (r == 0.0)


def sizes_of_values(jaxpr):
    """Returns the number of elements of everything that a program computes."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from sizes_of_values(inner)


def test_memory_grows_linearly_with_the_number_of_rows(name):
    module, params = build(name)

    def largest(count):
        arrays, rows, _ = pack([SEQUENCES[2]], ((8, ((0,), *[()] * (count - 1))),))

        def total(params):
            return module.apply({"params": params}, *arrays, rows, deterministic=True).sum()

        return max(sizes_of_values(jax.make_jaxpr(jax.grad(total))(params).jaxpr))

    assert largest(200) <= 2 * largest(100)


# Parts


def test_neighbours_outside_the_own_sequence_are_zeros():
    x_TxD = np.arange(1, 7, dtype=np.float32)[:, None]
    found = neighbours(x_TxD, np.array([0, 1, 2, 0, 1, 0]), np.array([0, 0, 0, 1, 1, -1]), 1)
    np.testing.assert_array_equal(found, [[0, 1, 2], [1, 2, 3], [2, 3, 0], [0, 4, 5], [4, 5, 0], [0, 6, 0]])
    # A sequence that fills the whole axis: its ends are no neighbours.
    found = neighbours(x_TxD[:3], np.arange(3), np.zeros(3, int), 2)
    np.testing.assert_array_equal(found, [[0, 0, 1, 2, 3], [0, 1, 2, 3, 0], [1, 2, 3, 0, 0]])


def test_distances_share_embeddings_on_a_logarithmic_scale():
    encoder = read("deberta_v2")
    # 4 buckets in each direction for up to 16 positions: distances to 2 have their own, 3 and farther ones share one.
    np.testing.assert_array_equal(encoder.distance_rows(5), [1, 1, 2, 3, 4, 5, 6, 7, 7])
    plain = read("deberta_v2", {"position_buckets": -1, "max_relative_positions": 3})
    np.testing.assert_array_equal(plain.distance_rows(6), [0, 0, 0, 1, 2, 3, 4, 5, 5, 5, 5])


def test_rotary_positions_leave_products_to_the_distance_alone():
    q, k = explicit.array((4, 1, 6), 1), explicit.array((4, 1, 6), 2)

    def products(shift):
        turned_q, turned_k = (rotate(x, np.arange(4) + shift, 100.0) for x in (q, k))
        return np.einsum("qhe,khe->qk", turned_q, turned_k)

    np.testing.assert_allclose(products(0), products(5), atol=1e-5)
    assert not np.allclose(products(0), np.einsum("qhe,khe->qk", q, k), atol=1e-2)


# Refusals


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("deberta_v2", "hidden_act", "relu", "'gelu'"),
        ("deberta_v2", "relative_attention", False, "True"),
        ("deberta_v2", "hidden_size", 13, "a multiple of the 3 attention heads"),
        ("deberta_v2", "attention_head_size", 5, "4"),
        ("deberta_v2", "pos_att_type", "c2p|p2p", "c2p, p2c or both"),
        ("deberta_v2", "pos_att_type", None, "c2p, p2c or both"),
        ("deberta_v2", "norm_rel_ebd", "batch_norm", "'none' or 'layer_norm'"),
        ("deberta_v2", "conv_kernel_size", 4, "0 or 3 or 5 or 7 or 9"),
        ("deberta_v2", "conv_groups", 2, "1"),
        ("deberta_v2", "conv_act", "relu", "'gelu' or 'tanh'"),
        ("deberta_v2", "position_buckets", 30, "2 to 29, for distances up to 16"),
        ("deberta_v2", "max_relative_positions", "16", "a whole number"),
        ("modernbert", "hidden_activation", "silu", "'gelu'"),
        ("modernbert", "hidden_size", 15, "a multiple of twice the 3 attention heads"),
        ("modernbert", "rope_scaling", {"rope_type": "yarn"}, "None"),
        ("modernbert", "global_rope_theta", None, "a number above 0"),
    ],
)
def test_what_is_not_implemented_is_refused_in_one_line(name, key, value, expected):
    with pytest.raises(InputError) as error:
        read(name, {key: value})
    message = str(error.value)
    assert "\n" not in message
    assert f"{key}: expected {expected}, found {value!r}" in message
