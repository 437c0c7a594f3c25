"""Every encoder family: what its config.json admits, its tree, packing, and what it does with segments."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy

from dtrm_jax.errors import InputError
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders.weights import load_params
from tests.encoder_families import FAMILIES
from tests.factories import random_params_like
from tests.golden import explicit
from tests.packed import pack, sequences_of

SETTINGS = {"dropout": 0.0, "attention_dropout": 0.0}
LENGTHS = (3, 12, 1, 16, 5, 2)
TOGETHER = ((9, ((0, 4), (5, 2))), (17, ((1,), (3,))))
ALONE = ((16, tuple((member,) for member in range(len(LENGTHS)))),)
TOLERANCE = 1e-5
GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
GOLDEN_LAYOUTS = (((31, ((4, 0, 1, 2, 3),)),), ((9, ((1, 3),)), (13, ((2, 0), (4,)))))


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def written(folder, family, **changes):
    values = {**FAMILIES[family].config, **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value != "gone"}))
    return folder


def read(folder, family, **settings):
    return encoders.read_encoder(written(folder, family), **{**SETTINGS, **settings})


def built(encoder):
    """The module and random parameters."""
    module = encoder.module(np.float32, remat=False, name=None)
    ids = np.zeros(8, np.int32)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), ids, ids, ids, ids, ((8, 1),), deterministic=True)["params"]
    )
    return module, random_params_like(shapes)


def states_of(module, params, layout, **changes):
    arrays, rows, slots = pack(sequences_of(LENGTHS, 29), layout)
    arrays = {**dict(zip(("tokens", "positions", "segments", "sequences"), arrays, strict=True)), **changes}
    apply = jax.jit(lambda params, *arrays: module.apply({"params": params}, *arrays, rows, deterministic=True))
    states = np.asarray(apply(params, *arrays.values()))
    return [states[slots[member]] for member in range(len(LENGTHS))]


def test_every_family_is_tested_here():
    assert FAMILIES.keys() == encoders.FAMILIES.keys()


def test_a_file_of_the_family_is_read_and_kept_as_json(family, tmp_path):
    encoder = read(tmp_path, family, products="bfloat16", learned_segments=True)
    assert (encoder.family, encoder.products, encoder.hidden_size, encoder.layers) == (family, "bfloat16", 12, 2)
    stored = json.loads(json.dumps(encoders.to_dict(encoder)))
    assert stored["family"] == family
    again = encoders.from_dict(stored)
    assert again == encoder and type(again) is type(encoder) and hash(again) == hash(encoder)


def test_a_run_from_before_there_were_families_has_a_bert():
    sizes = {"vocab_size": 9, "hidden_size": 6, "layers": 1, "heads": 2, "intermediate_size": 7, "max_positions": 8}
    old = {**sizes, "segment_types": 2, "layer_norm_eps": 1e-12, "products": "float32", **SETTINGS}
    assert encoders.to_dict(encoders.from_dict(old)).items() >= {"family": "bert", **old}.items()


def test_every_parameter_has_an_array_and_the_other_way_round(family, tmp_path):
    encoder = read(tmp_path, family)
    _, params = built(encoder)
    shapes = {tuple(key.key for key in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(params)}
    targets = encoder.arrays().values()
    assert {target.path: target.shape[:: -1 if target.transpose else 1] for target in targets} == shapes
    assert len(targets) == len(shapes)


@pytest.mark.parametrize("layout", GOLDEN_LAYOUTS)
def test_states_equal_pytorch_however_sequences_are_packed(family, layout, tmp_path):
    """The stored states are of transformers' class with weights from a formula, each sequence alone."""
    encoder = read(tmp_path, family)
    weights = explicit.weights({name: target.shape for name, target in encoder.arrays().items()})
    safetensors.numpy.save_file(weights, tmp_path / "model.safetensors")
    module, params = encoder.module(np.float32, remat=False, name=None), load_params(tmp_path, encoder)
    sequences = [(np.array(one.token_ids), np.array(one.segment_ids)) for one in explicit.SEQUENCES]
    arrays, rows, slots = pack(sequences, layout)
    states = np.asarray(jax.jit(lambda p: module.apply({"params": p}, *arrays, rows, deterministic=True))(params))
    found = np.concatenate([states[slots[member]] for member in range(len(sequences))])
    with np.load(GOLDEN / f"family_{family}.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(found, file["states"], rtol=0, atol=TOLERANCE)


def test_packed_equals_alone(family, tmp_path):
    module, params = built(read(tmp_path, family))
    for found, expected in zip(states_of(module, params, TOGETHER), states_of(module, params, ALONE), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_no_gradient_crosses_from_one_sequence_to_another(family, tmp_path):
    encoder = read(tmp_path, family)
    module, params = built(encoder)
    arrays, rows, slots = pack(sequences_of(LENGTHS, 29), TOGETHER)
    own = slots[4]

    def states(params):
        return module.apply({"params": params}, *arrays, rows, deterministic=True)[own].sum()

    gradient = jax.jit(jax.grad(states))(params)
    # Words that occur in other sequences only.
    name = "tok_embeddings" if family == "modernbert" else "word_embeddings"
    words = np.asarray(gradient["embeddings"][name]["embedding"])
    others = sorted(set(arrays[0].tolist()) - set(arrays[0][own].tolist()))
    assert others and not words[others].any() and words[arrays[0][own]].any()


def test_learned_segments_begin_as_zeros_and_then_tell_context_apart(family, tmp_path):
    plain, asked = read(tmp_path, family), read(tmp_path, family, learned_segments=True)
    module, params = built(asked)
    arrays, _, _ = pack(sequences_of(LENGTHS, 29), TOGETHER)
    without = {"segments": np.zeros_like(arrays[2])}
    if FAMILIES[family].takes_segments:
        assert jax.tree.structure(built(plain)[1]) == jax.tree.structure(params)
    else:
        ids = np.zeros(8, np.int32)
        initial = module.init(jax.random.key(0), ids, ids, ids, ids, ((8, 1),), deterministic=True)["params"]
        table = initial["embeddings"].pop("learned_segment_embeddings")["embedding"]
        assert table.shape[0] == 2 and not table.any()
        plain_module, plain_params = built(plain)
        assert jax.tree.structure(initial) == jax.tree.structure(plain_params)
        same = states_of(plain_module, plain_params, TOGETHER)
        for found, expected in zip(same, states_of(plain_module, plain_params, TOGETHER, **without), strict=True):
            np.testing.assert_array_equal(found, expected)
    with_segments, all_one = states_of(module, params, TOGETHER), states_of(module, params, TOGETHER, **without)
    assert np.abs(with_segments[3] - all_one[3]).max() > 1e-3


def test_recomputing_and_products_and_dropout(family, tmp_path):
    encoder = read(tmp_path, family)
    module, params = built(encoder)
    arrays, rows, _ = pack(sequences_of(LENGTHS, 29), TOGETHER)

    def gradient(encoder, remat, **settings):
        module = encoder.module(np.float32, remat=remat, name=None)
        loss = jax.jit(jax.grad(lambda p: (module.apply({"params": p}, *arrays, rows, **settings) ** 2).mean()))
        return jax.tree.leaves(loss(params))

    plain = gradient(encoder, False, deterministic=True)
    for a, b in zip(plain, gradient(encoder, True, deterministic=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    low = gradient(dataclasses.replace(encoder, products="bfloat16"), False, deterministic=True)
    differences = [np.abs(a - b).max() for a, b in zip(plain, low, strict=True)]
    assert 0 < max(differences) < 0.1
    dropping = dataclasses.replace(encoder, dropout=0.5, attention_dropout=0.5)
    dropped = gradient(dropping, False, deterministic=False, rngs={"dropout": jax.random.key(0)})
    assert max(np.abs(a - b).max() for a, b in zip(plain, dropped, strict=True)) > 1e-3


def test_the_positions_of_roberta_are_two_fewer_than_its_rows(tmp_path):
    assert read(tmp_path, "roberta").longest == 33
    assert read(tmp_path, "mpnet").longest == 33
    assert read(tmp_path, "bert").longest == 33


def test_another_name_of_the_exact_gelu_is_accepted(tmp_path):
    for family, key in (("roberta", "hidden_act"), ("distilbert", "activation")):
        named = encoders.read_encoder(written(tmp_path, family, **{key: "gelu_python"}), **SETTINGS)
        assert named == read(tmp_path, family)


def test_learned_segments_are_recorded_only_where_there_are_no_others(tmp_path):
    """Runs of BERT from before there were learned segments would seem to have had another encoder."""
    assert not read(tmp_path, "bert", learned_segments=True).learned_segments
    assert read(tmp_path, "roberta", learned_segments=True).learned_segments


@pytest.mark.parametrize(
    ("family", "change", "expected"),
    [
        ("roberta", {"hidden_act": "gelu_new"}, "hidden_act: expected 'gelu' or 'gelu_python', found 'gelu_new'"),
        ("roberta", {"position_embedding_type": "relative_key"}, "position_embedding_type: expected 'absolute'"),
        ("roberta", {"is_decoder": True}, "is_decoder: expected False, found True"),
        ("roberta", {"pad_token_id": "gone"}, "pad_token_id: expected a whole number of at least 0, found None"),
        ("mpnet", {"relative_attention_num_buckets": 8}, "relative_attention_num_buckets: expected 32, found 8"),
        ("distilbert", {"activation": "relu"}, "activation: expected 'gelu' or 'gelu_python', found 'relu'"),
        ("distilbert", {"n_heads": 5}, "dim: expected a multiple of the 5 attention heads, found 12"),
        ("electra", {"embedding_size": "gone"}, "embedding_size: expected a positive whole number, found None"),
    ],
)
def test_variants_that_are_not_implemented_are_refused(tmp_path, family, change, expected):
    written(tmp_path, family, **change)
    with pytest.raises(InputError) as error:
        encoders.read_encoder(tmp_path, **SETTINGS)
    assert str(error.value).startswith(f"{tmp_path / 'config.json'}: {expected}") and "\n" not in str(error.value)
