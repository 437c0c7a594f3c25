"""The whole model: who can influence whom, packing that changes nothing, and settings that change something."""

import dataclasses
import math

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.data.packing import build_pack
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import build_model
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal
from dtrm_jax.models.dialogue_trm.model import DialogueTRM
from dtrm_jax.models.encoders.bert import Bert, BertConfig
from tests.factories import (
    CLS,
    LABELS,
    SPECIAL,
    assert_trees_close,
    make_conversation,
    make_tokenizer,
    random_examples,
    random_params,
    text_examples,
    tiny_config,
    tiny_encoder,
    tiny_model,
)

TOLERANCE = 1e-5
# Packs of 47 utterance slots: with K = 3 the banded attention has six blocks.
SHAPE = PackShape(((13, 11), (29, 17)), 47)
ALONE = PackShape(((29, 23),), 23)
# For tests of one setting: one row length and a single layer each, which compiles quickly.
SIMPLE = PackShape(((29, 13),), 29)


_COMPILED = {}


def logits_of(model, params, pack, key=None):
    """Returns the logits as NumPy; with a key, those of training. Equal models are compiled once."""

    def logits(params, pack, rng):
        return model.apply({"params": params}, pack, deterministic=key is None, rngs={"dropout": rng})

    compiled = _COMPILED.setdefault((repr(model), key is None), jax.jit(logits))
    return np.asarray(compiled(params, pack, jax.random.key(0 if key is None else key)))


def by_conversation(logits, pack, number):
    return logits[np.asarray(pack.conversation_U) == number]


@pytest.fixture(scope="module", params=["none", "learned"])
def config(request):
    return tiny_config(model__intra_modal__turn_distance=request.param)


@pytest.fixture(scope="module")
def conversations(config):
    return random_examples(0, (7, 1, 19, 5, 11), config)


@pytest.fixture(scope="module")
def packed(config):
    return tiny_model(config, SHAPE)


@pytest.fixture(scope="module")
def params(packed):
    return random_params(packed)


@pytest.fixture(scope="module")
def alone(config, conversations, params):
    """Each conversation's logits when it is the only one in its pack."""
    model = tiny_model(config, ALONE)
    packs = [build_pack([conversation], ALONE) for conversation in conversations]
    return [by_conversation(logits_of(model, params, pack), pack, 0) for pack in packs]


def test_packed_equals_each_conversation_alone(conversations, packed, params, alone):
    pack = build_pack(conversations, SHAPE)
    logits = logits_of(packed, params, pack)
    assert logits.shape == (47, len(LABELS)) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    for number, expected in enumerate(alone):
        np.testing.assert_allclose(by_conversation(logits, pack, number), expected, rtol=0, atol=TOLERANCE)
    # The comparison means something: turns differ.
    assert np.abs(np.diff(logits[:43], axis=0)).mean() > 0.05


@pytest.mark.parametrize("members", [(4, 3, 2, 1, 0), (2, 0, 4), (1,), (3, 1, 4, 2), (0, 0, 0)])
def test_order_and_company_change_nothing(conversations, packed, params, alone, members):
    pack = build_pack([conversations[index] for index in members], SHAPE)
    logits = logits_of(packed, params, pack)
    for number, index in enumerate(members):
        np.testing.assert_allclose(by_conversation(logits, pack, number), alone[index], rtol=0, atol=TOLERANCE)


def test_later_turns_change_no_earlier_logits(config, packed, params):
    random = np.random.default_rng(5)
    words = [" ".join(f"w{word}" for word in random.integers(4, 61, random.integers(1, 6))) for _ in range(19)]
    speakers = "".join(random.choice(list("AB"), 19))
    small = tiny_model(config, PackShape(((16, 7), (29, 11)), 17))

    def answer(model, turns, texts):
        conversation = make_conversation(speakers[:turns], texts[:turns], [None] * turns)
        pack = build_pack(text_examples([conversation], config), model.shape)
        return logits_of(model, params, pack)[:turns]

    whole = answer(packed, 19, words)
    for turns in (1, 2, 5, 13, 18):
        np.testing.assert_allclose(answer(packed, turns, words), whole[:turns], rtol=0, atol=TOLERANCE)
        if turns <= 13:
            np.testing.assert_allclose(answer(small, turns, words), whole[:turns], rtol=0, atol=TOLERANCE)
    # Other words of the same number lie in the same slots, so that not even rounding may differ.
    changed = [*words[:13], *(" ".join(["w9"] * len(text.split())) for text in words[13:])]
    np.testing.assert_array_equal(answer(packed, 19, changed)[:13], whole[:13])
    assert np.abs(answer(packed, 19, changed)[13:] - whole[13:]).max() > 0.01


def influences(speakers, window, layers, future):
    """Which turn (column) can influence which turn's logits (row), followed step by step from eq. 1 to 3."""

    def near(i, j):
        return -future <= i - j <= window

    turns = len(speakers)
    reach = np.eye(turns, dtype=int)
    seen_above = np.array([[int(near(i, j)) for j in range(turns)] for i in range(turns)])
    for _ in range(layers):
        reach = (seen_above @ reach > 0).astype(int)
    encoded = np.array([[int(near(i, j) and speakers[i] == speakers[j]) for j in range(turns)] for i in range(turns)])
    return reach @ encoded > 0


@pytest.mark.parametrize(
    ("layers", "window", "future", "context"),
    [
        (0, 3, 0, "dependent"),
        (1, 3, 0, "dependent"),
        (2, 3, 0, "dependent"),
        (2, 3, 0, "free"),
        (0, 3, 2, "dependent"),
        (1, 3, 2, "dependent"),
        (2, 0, 3, "dependent"),
    ],
)
def test_gradients_reach_exactly_as_far_as_the_receptive_field(layers, window, future, context):
    """Gradient of every turn's logits with respect to every other turn's words, in the sequences of all turns."""
    speakers = "ABAABBACABBAACABABBCA"
    turns = len(speakers)
    # Every turn has two words of its own, so that a word's embedding is that turn, wherever it is context.
    first_word = len(SPECIAL)
    texts = [f"w{first_word + 2 * turn} w{first_word + 2 * turn + 1}" for turn in range(turns)]
    vocabulary = first_word + 2 * turns
    config = tiny_config(
        tokens__window=window,
        tokens__future=future,
        model__intra_modal__layers=layers,
        model__context__utterance=context,
    )
    conversation = make_conversation(speakers, texts, [None] * turns)
    tokenized = text_examples([conversation], config, make_tokenizer(vocabulary))
    shape = PackShape(((13, 21),), 29)
    model = tiny_model(config, shape, vocab_size=vocabulary)
    pack, params = build_pack(tokenized, shape), random_params(model)
    direction = np.random.default_rng(1).normal(size=len(LABELS)).astype(np.float32)

    @jax.jit
    @jax.jacrev
    def gradients(embedding):
        replaced = {**params["encoder"]["embeddings"], "word_embeddings": {"embedding": embedding}}
        changed = {**params, "encoder": {**params["encoder"], "embeddings": replaced}}
        return model.apply({"params": changed}, pack, deterministic=True)[:turns] @ direction

    of_words = np.asarray(gradients(params["encoder"]["embeddings"]["word_embeddings"]["embedding"]))
    of_turns = np.abs(of_words[:, first_word:]).reshape(turns, turns, -1).max(axis=-1)
    expected = influences(speakers, window, layers if context == "dependent" else 0, future)
    np.testing.assert_array_equal(of_turns[~expected], 0.0)
    assert (of_turns[expected] > 0).all()
    # What the table says in words, so that a mistake in it shows.
    distance = np.subtract.outer(np.arange(turns), np.arange(turns))
    assert expected[distance == 0].all()
    assert DialogueTRM.is_causal(config) == (not expected[distance < 0].any()) == (not future)
    own_layers = layers if context == "dependent" else 0
    assert distance[expected].max() == (own_layers + 1) * window
    assert distance[expected].min() == -(own_layers + 1) * future
    if not own_layers:
        same = np.array([[a == b for b in speakers] for a in speakers])
        np.testing.assert_array_equal(expected, same & (-future <= distance) & (distance <= window))
    elif window:
        np.testing.assert_array_equal(expected[distance == 1], True)


def test_full_size_parameters_by_shape_alone():
    encoder = BertConfig(
        vocab_size=30522,
        hidden_size=768,
        layers=12,
        heads=12,
        intermediate_size=3072,
        dropout=0.1,
        attention_dropout=0.1,
    )
    shapes = parameter_shapes(build_model(Config(), encoder, 7, PackShape(((128, 2),), 8)))
    counts = {name: sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(part)) for name, part in shapes.items()}
    pooler = 768 * 768 + 768
    # bert-base-uncased has 109,482,240 parameters.
    assert counts["encoder"] == 109_482_240 - pooler == 108_891_648
    attention = 4 * (768 * 768 + 768)
    feed_forward = (768 * 2048 + 2048) + (2048 * 768 + 768)
    assert counts["intra_modal"] == 6 * (attention + feed_forward + 2 * 2 * 768)
    assert counts["discriminator"] == (768 * 768 + 768) + (768 * 7 + 7)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    flat = {"/".join(path): leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}
    expected = {
        "encoder/embeddings/word_embeddings/embedding": (30522, 768),
        "encoder/embeddings/position_embeddings/embedding": (512, 768),
        "encoder/embeddings/token_type_embeddings/embedding": (2, 768),
        "encoder/embeddings/LayerNorm/scale": (768,),
        "encoder/encoder/layer/11/attention/self/query/kernel": (768, 768),
        "encoder/encoder/layer/11/attention/output/dense/kernel": (768, 768),
        "encoder/encoder/layer/0/intermediate/dense/kernel": (768, 3072),
        "encoder/encoder/layer/0/output/dense/kernel": (3072, 768),
        "intra_modal/transformer/layer_5/attention/out/kernel": (768, 768),
        "intra_modal/transformer/layer_0/linear1/kernel": (768, 2048),
        "intra_modal/transformer/layer_0/linear2/kernel": (2048, 768),
        "intra_modal/transformer/layer_0/norm2/scale": (768,),
        "discriminator/hidden/kernel": (768, 768),
        "discriminator/output/kernel": (768, 7),
    }
    assert {path: flat[path] for path in expected} == expected
    assert not any("layer/12/" in path or "layer_6/" in path or "pooler" in path for path in flat)


DROPOUTS = (
    "model__dropout",
    "model__encoder__dropout",
    "model__encoder__attention_dropout",
    "model__intra_modal__dropout",
)


def simple_pack(config):
    return build_pack(random_examples(0, (7, 19), config), SIMPLE)


def simple_model(config):
    return tiny_model(config, SIMPLE, layers=1)


def test_remat_changes_neither_dropout_nor_gradients():
    config = tiny_config(**dict.fromkeys(DROPOUTS, 0.3), model__intra_modal__turn_distance="learned")
    pack = simple_pack(config)
    results = []
    for remat in (False, True):
        changed = dataclasses.replace(config, model=dataclasses.replace(config.model, remat=remat))
        model = simple_model(changed)

        def loss(params, model=model):
            logits = model.apply({"params": params}, pack, deterministic=False, rngs={"dropout": jax.random.key(3)})
            return (logits[:26] ** 2).mean()

        results.append(jax.jit(jax.value_and_grad(loss))(random_params(model)))
    (plain, gradients), (with_remat, same_gradients) = results
    np.testing.assert_allclose(plain, with_remat, rtol=1e-6)
    assert_trees_close(same_gradients, gradients, atol=5e-6)
    # The distance bias reaches the layers from outside of what is recomputed.
    assert np.abs(gradients["intra_modal"]["turn_distance"]).max() > 1e-6


def test_bfloat16_is_close_to_float32_and_parameters_stay_float32():
    config = tiny_config()
    model, pack = simple_model(config), simple_pack(config)
    params = random_params(model)
    half = simple_model(tiny_config(model__dtype="bfloat16"))
    exact, rough = logits_of(model, params, pack)[:26], logits_of(half, params, pack)[:26]
    assert rough.dtype == np.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(parameter_shapes(half))} == {jnp.dtype("float32")}
    error = np.abs(rough - exact)
    assert 0 < error.mean() < 0.03 * exact.std()
    assert error.max() < 0.2 * exact.std()


def test_states_read_at_cls_equal_those_gathered_from_all():
    config = tiny_config()
    pack = build_pack(random_examples(0, (7, 19, 5), config), SHAPE)
    encoder, params = Bert(tiny_encoder(config)), random_params(tiny_model(config, SHAPE))["encoder"]
    tokens = (pack.token_ids_T, pack.position_ids_T, pack.segment_ids_T, pack.sequence_ids_T, SHAPE.rows)

    @jax.jit
    def both(params):
        everything = encoder.apply({"params": params}, *tokens, deterministic=True)
        return everything, encoder.apply({"params": params}, *tokens, read_O=pack.cls_U, deterministic=True)

    everything, read = both(params)
    assert everything.shape == (SHAPE.tokens, 14) and read.shape == (47, 14)
    np.testing.assert_allclose(read, everything[pack.cls_U], rtol=0, atol=TOLERANCE)
    assert len(set(pack.cls_U[:31].tolist())) == 31


def test_the_parts_are_composed_as_in_figure_2():
    """Encoder read at the first token of every sequence, intra-modal Transformer, discriminator."""
    config = tiny_config(model__intra_modal__turn_distance="learned")
    pack, model = simple_pack(config), simple_model(config)
    params = random_params(model)
    used = 26
    first_slots = np.array([np.flatnonzero(pack.sequence_ids_T == turn)[0] for turn in range(used)])
    np.testing.assert_array_equal(pack.token_ids_T[first_slots], CLS)

    @jax.jit
    def composed(params):
        states = Bert(tiny_encoder(config, layers=1)).apply(
            {"params": params["encoder"]},
            pack.token_ids_T,
            pack.position_ids_T,
            pack.segment_ids_T,
            pack.sequence_ids_T,
            SIMPLE.rows,
            deterministic=True,
        )
        above = IntraModal(config.model.intra_modal, "dependent", config.tokens.window, jnp.float32).apply(
            {"params": params["intra_modal"]}, states[first_slots], pack.conversation_U[:used], pack.turn_U[:used], True
        )
        hidden, output = (params["discriminator"][name] for name in ("hidden", "output"))
        return jnp.tanh(above @ hidden["kernel"] + hidden["bias"]) @ output["kernel"] + output["bias"]

    np.testing.assert_allclose(logits_of(model, params, pack)[:used], composed(params), rtol=0, atol=TOLERANCE)


def test_the_logits_follow_from_the_position_segment_and_word_of_every_token():
    config = tiny_config()
    model, pack = simple_model(config), simple_pack(config)
    params = random_params(model)
    plain = logits_of(model, params, pack)
    for name in ("token_ids_T", "position_ids_T", "segment_ids_T"):
        array = np.array(getattr(pack, name))
        array[pack.cls_U[3] + 1] ^= 1
        changed = logits_of(model, params, pack.replace(**{name: array}))
        assert np.abs(changed[3] - plain[3]).max() > 1e-3, name
        np.testing.assert_array_equal(changed[:3], plain[:3])


def test_attention_weights_can_be_read_by_name():
    config = tiny_config()
    model, pack = tiny_model(config, SHAPE), build_pack(random_examples(0, (7, 19), config), SHAPE)
    params = random_params(model)
    logits, state = jax.jit(
        lambda params: model.apply({"params": params}, pack, deterministic=True, mutable="intermediates")
    )(params)
    np.testing.assert_allclose(logits, logits_of(model, params, pack), atol=TOLERANCE)
    intermediates = state["intermediates"]
    for layer in ("0", "1"):
        [weights] = intermediates["encoder"]["encoder"]["layer"][layer]["attention"]["self"]["weights"]
        assert [w.shape for w in weights] == [(11, 2, 13, 13), (17, 2, 29, 29)]
        start = 0
        for (length, count), w in zip(SHAPE.rows, weights, strict=True):
            ids = pack.sequence_ids_T[start : start + length * count].reshape(count, 1, length)
            apart = np.broadcast_to(ids[:, :, :, None] != ids[:, :, None, :], w.shape)
            np.testing.assert_array_equal(np.asarray(w)[apart], 0.0)
            np.testing.assert_allclose(w.sum(-1), 1.0, atol=TOLERANCE)
            start += length * count
    for layer in ("layer_0", "layer_1"):
        [weights] = intermediates["intra_modal"]["transformer"][layer]["attention"]["weights"]
        assert weights.shape == (6, 2, 8, 16)  # blocks, heads, queries, keys of two blocks
        np.testing.assert_allclose(weights.sum(-1), 1.0, atol=TOLERANCE)


# Settings of the model that must change its answer with the same parameters.
KNOBS = {
    "context": {"model__context__utterance": "free"},
    "heads": {"model__intra_modal__heads": 7},
    "layers": {"model__intra_modal__layers": 1},
    "no layers": {"model__intra_modal__layers": 0},
    "window": {"tokens__window": 2},
    "future": {"tokens__future": 1},
    "dtype": {"model__dtype": "bfloat16"},
}


@pytest.mark.parametrize("knob", KNOBS)
def test_every_setting_changes_the_outcome(knob):
    config = tiny_config()
    pack = simple_pack(config)
    params = random_params(simple_model(config))
    plain = logits_of(simple_model(config), params, pack)
    changed = logits_of(simple_model(tiny_config(**KNOBS[knob])), params, pack)
    assert np.abs(changed - plain)[:26].max() > 1e-3


def test_feed_forward_sets_the_hidden_width():
    shapes = parameter_shapes(tiny_model(tiny_config(model__intra_modal__feed_forward=17), SHAPE))
    assert shapes["intra_modal"]["transformer"]["layer_0"]["linear1"]["kernel"].shape == (14, 17)


def test_learned_turn_distance_starts_neutral_and_then_matters():
    config = tiny_config(model__intra_modal__turn_distance="learned")
    pack = simple_pack(config)
    model, plain = simple_model(config), simple_model(tiny_config())
    params = random_params(model)
    assert params["intra_modal"]["turn_distance"].shape == (2, 4)  # heads, distances 0 to 3
    init = jax.jit(lambda key: model.init(key, pack, deterministic=True)["params"]["intra_modal"]["turn_distance"])
    fresh = init(jax.random.key(0))
    np.testing.assert_array_equal(fresh, 0.0)
    without = {**params, "intra_modal": {"transformer": params["intra_modal"]["transformer"]}}
    neutral = {**params, "intra_modal": {**params["intra_modal"], "turn_distance": fresh}}
    expected = logits_of(plain, without, pack)
    np.testing.assert_array_equal(logits_of(model, neutral, pack), expected)
    assert np.abs(logits_of(model, params, pack) - expected)[:26].max() > 1e-3


@pytest.mark.parametrize("knob", DROPOUTS)
def test_every_dropout_acts_in_training(knob):
    config = tiny_config(**{knob: 0.4})
    pack, model = simple_pack(config), simple_model(config)
    params = random_params(model)
    evaluated = logits_of(simple_model(tiny_config()), params, pack)
    trained, again, other = (logits_of(model, params, pack, key=key) for key in (1, 1, 2))
    np.testing.assert_array_equal(trained, again)
    assert np.abs(trained - evaluated)[:26].max() > 1e-3
    assert np.abs(trained - other)[:26].max() > 1e-3


def test_no_dropout_acts_in_evaluation():
    config = tiny_config(**dict.fromkeys(DROPOUTS, 0.4))
    pack, model = simple_pack(config), simple_model(config)
    params = random_params(model)
    expected = logits_of(simple_model(tiny_config()), params, pack)
    np.testing.assert_array_equal(logits_of(model, params, pack), expected)


def test_dropout_acts_at_every_place_of_bert_and_of_the_transformer(monkeypatch):
    places = []

    def spy(x, key, rate):
        places.append((rate, x.shape))
        return x

    monkeypatch.setattr("dtrm_jax.models.layers.dropout.dropout", spy)
    config = tiny_config(**dict(zip(DROPOUTS, (0.1, 0.2, 0.3, 0.4), strict=True)))
    pack, model = simple_pack(config), simple_model(config)
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    jax.eval_shape(lambda: model.init(rngs, pack, deterministic=False))
    tokens, turns, width, hidden = 29 * 13, 29, 14, 11
    encoder = [
        (0.2, (tokens, width)),  # embeddings
        (0.3, (13, 2, 29, 29)),  # attention weights: rows, heads, queries, keys
        (0.2, (turns, width)),  # after attention; only the [CLS]s are left
        (0.2, (turns, width)),  # after the feed-forward layer
    ]
    layer = [(0.4, (4, 2, 8, 16)), (0.4, (turns, width)), (0.4, (turns, hidden)), (0.4, (turns, width))]
    assert places == [*encoder, *layer, *layer, (0.1, (turns, width)), (0.1, (turns, width))]
