"""What DeBERTa-v2 and ModernBERT have of their own; test_families.py tests what all families have."""

import json
import pathlib
import tempfile

import jax
import jax.extend.core
import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders.deberta_v2 import neighbours
from dtrm_jax.models.encoders.modernbert import rotate
from tests.golden import explicit
from tests.packed import pack

CONFIGS = {"deberta_v2": explicit.DEBERTA_V2_CONFIG, "modernbert": explicit.MODERNBERT_CONFIG}


def read(name, change=()):
    """Returns the golden's sizes, with changes to its ``config.json``."""
    return read_values(CONFIGS[name] | dict(change))


def read_values(values):
    """Returns the sizes of a ``config.json``."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "config.json").write_text(json.dumps(values))
        return encoders.read_encoder(path, dropout=0.1, attention_dropout=0.1)


def sizes_of_values(jaxpr):
    """Returns the number of elements of everything that a program computes."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from sizes_of_values(inner)


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_grows_linearly_with_the_number_of_rows(name):
    module = read(name).module(np.float32, remat=False, name=None)
    sequence = explicit.SEQUENCES[2]

    def largest(count):
        arrays, rows, _ = pack([(sequence.token_ids, sequence.segment_ids)], ((8, ((0,), *[()] * (count - 1))),))
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arrays, rows, deterministic=True)["params"])

        def total(params):
            return module.apply({"params": params}, *arrays, rows, deterministic=True).sum()

        return max(sizes_of_values(jax.make_jaxpr(jax.grad(total))(shapes).jaxpr))

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


@pytest.mark.parametrize(("local", "expected"), [("absent", 10000.0), (None, 300.0), (7, 7.0)])
def test_local_layers_share_the_base_of_the_others_only_where_theirs_is_null(local, expected):
    values = {key: value for key, value in explicit.MODERNBERT_CONFIG.items() if key != "local_rope_theta"}
    values |= {"global_rope_theta": 300.0} | ({} if local == "absent" else {"local_rope_theta": local})
    encoder = read_values(values)
    assert (encoder.global_theta, encoder.local_theta) == (300.0, expected)


# What transformers 5 writes in place of three of transformers 4's settings.
OLD = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")
FULL, SLIDING = "full_attention", "sliding_attention"
NEW = {
    "layer_types": [FULL, SLIDING, FULL, SLIDING],
    "rope_parameters": {
        FULL: {"rope_theta": 300.0, "rope_type": "default"},
        SLIDING: {"rope_theta": 50.0, "rope_type": "default"},
    },
}


def read_new(**changes):
    values = {key: value for key, value in explicit.MODERNBERT_CONFIG.items() if key not in OLD}
    return read_values(values | NEW | changes)


def test_a_file_of_transformers_5_is_read_alone_and_beside_equal_old_settings():
    old = dict(zip(OLD, (2, 300.0, 50), strict=True))
    assert read_new() == read_new(**old) == read("modernbert", old)
    assert read("modernbert", {"layer_types": None, "rope_parameters": None}) == read("modernbert")


@pytest.mark.parametrize(
    ("types", "old", "every"),
    [
        ([FULL] * 4, {}, 1),
        ([FULL, SLIDING, SLIDING, FULL], {}, 3),
        ([FULL, SLIDING, SLIDING, SLIDING], {}, 4),
        ([FULL, SLIDING, SLIDING, SLIDING], {"global_attn_every_n_layers": 9}, 9),
    ],
)
def test_the_distance_of_global_layers_is_read_from_their_list(types, old, every):
    assert read_new(layer_types=types, **old).global_every == every


@pytest.mark.parametrize(
    ("parameters", "old", "expected"),
    [
        ({}, {}, (160000.0, 10000.0)),
        ({FULL: {"rope_theta": 300}, SLIDING: None}, {}, (300.0, 10000.0)),
        ({FULL: {"rope_type": "default"}}, {"global_rope_theta": 7.0, "local_rope_theta": 5.0}, (7.0, 5.0)),
    ],
)
def test_a_base_that_rope_parameters_lack_is_the_old_setting_or_the_published_one(parameters, old, expected):
    encoder = read_new(rope_parameters=parameters, **old)
    assert (encoder.global_theta, encoder.local_theta) == expected


# Refusals


LAYERS = "4 layers, full_attention in the first and at equal distances, sliding_attention in the others"
SCALED = {"rope_theta": 300.0, "rope_type": "yarn"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layer_types": [FULL, FULL, SLIDING, FULL]}, f"layer_types: expected {LAYERS}, found"),
        ({"layer_types": [SLIDING, FULL, SLIDING, FULL]}, f"layer_types: expected {LAYERS}, found"),
        ({"layer_types": [FULL, SLIDING, FULL]}, f"layer_types: expected {LAYERS}, found"),
        ({"layer_types": [FULL, "linear_attention", FULL, SLIDING]}, f"layer_types: expected {LAYERS}, found"),
        ({"layer_types": FULL}, f"layer_types: expected {LAYERS}, found 'full_attention'"),
        (
            {"global_attn_every_n_layers": 3},
            "layer_types: expected full_attention in every layer that 3 divides, as global_attn_every_n_layers has it",
        ),
        ({"global_rope_theta": 7.0}, "rope_theta 7.0 in full_attention, as global_rope_theta has it, found {"),
        ({"local_rope_theta": 7.0}, "rope_theta 7.0 in sliding_attention, as local_rope_theta has it, found {"),
        ({"local_rope_theta": None}, "rope_theta 160000.0 in sliding_attention, as local_rope_theta has it, found {"),
        ({"rope_parameters": {FULL: SCALED}}, "rope_parameters: expected rope_type 'default' in full_attention, found"),
        ({"rope_parameters": {SLIDING: {"rope_theta": None}}}, "expected a rope_theta above 0 in sliding_attention"),
        ({"rope_parameters": {SLIDING: {"factor": 2}}}, "no more than rope_theta and rope_type in sliding_attention"),
        ({"rope_parameters": {FULL: 3}}, "expected no more than rope_theta and rope_type in full_attention, found"),
        ({"rope_parameters": SCALED}, "rope_parameters: expected an object with full_attention and sliding_attention"),
        ({"rope_parameters": [1]}, "rope_parameters: expected an object with full_attention and sliding_attention"),
    ],
)
def test_files_of_transformers_5_that_mean_something_else_are_refused_in_one_line(change, expected):
    with pytest.raises(InputError) as error:
        read_new(**change)
    assert expected in str(error.value) and "\n" not in str(error.value)


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
