"""Every encoder family: what its config.json admits, its tree, packing, and what it does with segments."""

import dataclasses
import functools
import json
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dtrm_jax.errors import InputError
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.weights import load_params
from tests.encoder_families import FAMILIES
from tests.golden import explicit
from tests.packed import pack

SETTINGS = {"dropout": 0.0, "attention_dropout": 0.0}
TOLERANCE = 1e-5
GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
# What is computed: a config.json, and the file of the states that transformers' class computes of each sequence alone,
# with weights from a formula.
CASES = {
    **{name: (family.config, f"family_{name}") for name, family in FAMILIES.items()},
    "deberta-v2 with a convolution": (explicit.DEBERTA_V2_CONFIG, "deberta_v2"),
    "modernbert of four layers": (explicit.MODERNBERT_CONFIG, "modernbert"),
}
# One case of every module, and BERT's once more with a relative position bias.
MODULES = ("bert", "mpnet", "deberta-v2 with a convolution", "modernbert of four layers")
# Every sequence is there twice: in rows that it shares with few others, and in one row with all of them. The first and
# the last row are full, so that sequences of two rows meet without a gap.
SEQUENCES = [(np.array(one.token_ids), np.array(one.segment_ids)) for one in (*explicit.SEQUENCES, *explicit.SEQUENCES)]
LAYOUT = ((12, ((2, 0), (4,), (1, 3))), (27, ((9, 5, 6, 7, 8),)))
ARRAYS, ROWS, SLOTS = pack(SEQUENCES, LAYOUT)
USED = np.concatenate([SLOTS[member] for member in range(len(SEQUENCES))])
HIDDEN = 12
WEIGHT = np.zeros((len(ARRAYS[0]), HIDDEN), np.float32)
WEIGHT[USED] = explicit.array((len(USED), HIDDEN), 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """An encoder that was asked for learned segments, with the golden's weights.

    Attributes:
        expected: The golden's states of the used slots.
        encoder: The sizes.
        params: The weights; learned segments are the zeros that they begin as.
        program: Compiled once for all tests; see ``run``.
    """

    expected: np.ndarray
    encoder: Encoder
    params: Any
    program: Callable

    def run(self, *, params: Any = None, weight: np.ndarray = WEIGHT, **changes: np.ndarray) -> tuple:
        """Returns the states of all slots, and the gradient of their sum weighted by ``weight``.

        ``changes`` are ``tokens``, ``positions``, ``segments`` or ``sequences`` instead of those of ``ARRAYS``.
        """
        arrays = {**dict(zip(("tokens", "positions", "segments", "sequences"), ARRAYS, strict=True)), **changes}
        states, gradient = self.program(params or self.params, list(arrays.values()), weight)
        return np.asarray(states), jax.tree.map(np.asarray, gradient)

    @property
    def learns_segments(self) -> bool:
        """Whether there are learned segments besides the family's own arrays."""
        return "learned_segment_embeddings" in self.params["embeddings"]

    def changed(self, *, dtype=np.float32, **changes) -> np.ndarray:
        """Returns the states of the used slots in training, with changes to the encoder."""
        module = dataclasses.replace(self.encoder, **changes).module(dtype, remat=False, name=None)
        rngs = {"dropout": jax.random.key(0)}
        apply = jax.jit(lambda p: module.apply({"params": p}, *ARRAYS, ROWS, deterministic=False, rngs=rngs))
        states = apply(self.params)
        assert states.dtype == dtype
        return np.asarray(states.astype(np.float32))[USED]


def states_and_gradient(module: nn.Module, **settings: Any) -> Callable:
    """Returns ``(params, arrays, weight_TxD) -> (states, gradient)``, compiled."""

    def program(params, arrays, weight_TxD):
        states, pull_back = jax.vjp(lambda p: module.apply({"params": p}, *arrays, ROWS, **settings), params)
        return states, pull_back(weight_TxD)[0]

    return jax.jit(program)


def written(folder, family, **changes):
    values = {**FAMILIES[family].config, **changes}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value != "gone"}))
    return folder


def read(folder, family, **settings):
    return encoders.read_encoder(written(folder, family), **{**SETTINGS, **settings})


def initial(encoder, of=lambda params: params):
    """Returns a function that makes the encoder's initial parameters and returns what ``of`` takes from them."""
    module, ids = encoder.module(np.float32, remat=False, name=None), np.zeros(8, np.int32)
    return lambda: of(module.init(jax.random.key(0), ids, ids, ids, ids, ((8, 1),), deterministic=True)["params"])


@functools.cache
def case_of(name: str) -> Case:
    values, golden = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "config.json").write_text(json.dumps(values))
        encoder = encoders.read_encoder(path, **SETTINGS, learned_segments=True)
        weights = explicit.weights({name: target.shape for name, target in encoder.arrays().items()})
        safetensors.numpy.save_file(weights, path / "model.safetensors")
        params = load_params(path, encoder)
    table = jax.eval_shape(initial(encoder))["embeddings"].get("learned_segment_embeddings")
    if table is not None:
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), table)
        params = {**params, "embeddings": {**params["embeddings"], "learned_segment_embeddings": zeros}}
    with np.load(GOLDEN / f"{golden}.npz", allow_pickle=False) as file:
        expected = np.concatenate([file["states"]] * 2)
    module = encoder.module(np.float32, remat=False, name=None)
    program = states_and_gradient(module, deterministic=True)
    return Case(expected=expected, encoder=encoder, params=params, program=program)


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(params=CASES)
def case(request):
    return case_of(request.param)


@pytest.fixture(params=MODULES)
def module_case(request):
    return case_of(request.param)


def test_every_family_is_tested_here():
    assert FAMILIES.keys() == encoders.FAMILIES.keys()
    modules = {name: type(case_of(name).encoder.module(np.float32, remat=False, name=None)) for name in CASES}
    assert set(modules.values()) == {modules[name] for name in MODULES}


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


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_has_an_array_and_the_other_way_round(name):
    encoder = dataclasses.replace(case_of(name).encoder, learned_segments=False)
    shapes = jax.eval_shape(initial(encoder))
    shapes = {tuple(key.key for key in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(shapes)}
    targets = encoder.arrays().values()
    assert {target.path: target.shape[:: -1 if target.transpose else 1] for target in targets} == shapes
    assert len(targets) == len(shapes)


def test_states_equal_pytorch_however_sequences_are_packed(case):
    """Learned segments are asked for, and change nothing as long as they are zeros."""
    states, _ = case.run()
    np.testing.assert_allclose(states[USED], case.expected, rtol=0, atol=TOLERANCE)


def test_no_gradient_crosses_from_one_sequence_to_another(case):
    (words,) = [name for name in case.params["embeddings"] if name in ("word_embeddings", "tok_embeddings")]
    # No word occurs in two sequences, except for the copy of the same sequence in the other kind of row.
    tokens = np.zeros_like(ARRAYS[0])
    tokens[USED] = np.tile(np.arange(1, 1 + len(USED) // 2), 2)
    for member in range(len(SEQUENCES)):
        weight = np.zeros_like(WEIGHT)
        weight[SLOTS[member]] = WEIGHT[SLOTS[member]]
        _, gradient = case.run(tokens=tokens, weight=weight)
        reached = np.flatnonzero(gradient["embeddings"][words]["embedding"].any(axis=1))
        assert set(reached) == set(tokens[SLOTS[member]])


def test_learned_segments_begin_as_zeros_and_then_tell_context_apart(case):
    params, without = case.params, np.zeros_like(ARRAYS[2])
    if case.learns_segments:
        begin = jax.jit(initial(case.encoder, lambda p: p["embeddings"]["learned_segment_embeddings"]["embedding"]))()
        assert begin.shape == (2, HIDDEN) and not begin.any()
        np.testing.assert_array_equal(case.run()[0], case.run(segments=without)[0])
        table = {"learned_segment_embeddings": {"embedding": explicit.array((2, HIDDEN), 5)}}
        params = {**params, "embeddings": {**params["embeddings"], **table}}
    (found, _), (all_one, _) = case.run(params=params), case.run(params=params, segments=without)
    assert np.abs(found - all_one)[SLOTS[2]].max() > 1e-3


def test_a_family_with_segments_of_its_own_learns_no_others():
    own = {name for name in CASES if not case_of(name).learns_segments}
    assert own == {name for name in FAMILIES if FAMILIES[name].takes_segments} | {"deberta-v2 with a convolution"}


def test_recomputing_and_reading_at_some_slots_change_nothing(module_case):
    """As in training without dropout, and without learned segments, which are zeros in the other program."""
    case = module_case
    expected, expected_gradient = case.run()
    plain = dataclasses.replace(case.encoder, learned_segments=False)
    params, expected_gradient = (
        {**tree, "embeddings": {k: v for k, v in tree["embeddings"].items() if k != "learned_segment_embeddings"}}
        for tree in (case.params, expected_gradient)
    )
    read_O = np.random.default_rng(0).permutation(USED)
    settings = {"read_O": read_O, "deterministic": False, "rngs": {"dropout": jax.random.key(0)}}
    program = states_and_gradient(plain.module(np.float32, remat=True, name=None), **settings)
    assert "remat" in str(jax.make_jaxpr(program)(params, ARRAYS, WEIGHT[read_O]))
    states, gradient = program(params, ARRAYS, WEIGHT[read_O])
    np.testing.assert_allclose(states, expected[read_O], rtol=0, atol=TOLERANCE)
    assert jax.tree.structure(gradient) == jax.tree.structure(expected_gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), gradient, expected_gradient)


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout"])
def test_both_rates_of_dropout_arrive(module_case, rate):
    assert np.abs(module_case.changed(**{rate: 0.5}) - module_case.expected).max() > 1e-3


@pytest.mark.parametrize("low", [{"products": "bfloat16"}, {"dtype": jnp.bfloat16}], ids=["products", "activations"])
def test_bfloat16_is_near(module_case, low):
    assert 1e-4 < np.abs(module_case.changed(**low) - module_case.expected).max() < 0.3


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
