"""DialogueTRM-M: which turn's which modality acts on which turn, turns that lack one, and every subset."""

import functools
import itertools

import flax.traverse_util
import jax
import numpy as np
import pytest

from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.plans import pack_shape
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.intermediates import read_out
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import build_model
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from tests.factories import (
    LABELS,
    assert_trees_close,
    make_tokenizer,
    random_conversation,
    random_params,
    tiny_config,
    tiny_encoder,
    with_features,
)
from tests.fusions import KINDS

SIZES = {"utterance": 7, "acoustic": 5, "visual": 3}
TURNS = (6, 1, 9)
TOLERANCE = 1e-5
TINY_FUSION = {
    "model__fusion__layers": 2,
    "model__fusion__heads": 2,
    "model__fusion__feed_forward": 13,
    "model__fusion__dropout": 0.0,
}
EVERY_SUBSET = ("u", "a", "v", "ua", "uv", "av", "uav")


def configured(modalities="uav", utterance="encoder", **settings):
    tiny = {**TINY_FUSION, "model__encoder__hidden_size": 14, "model__encoder__layers": 1, "packing__utterances": 17}
    return tiny_config(model__modalities=modalities, model__utterance=utterance, **{**tiny, **settings})


def conversations(absent=()):
    """Three conversations; ``absent`` holds (conversation, turn, feature) triples."""
    random = np.random.default_rng(1)
    result = [random_conversation(random, turns) for turns in TURNS]
    return [with_features(random, c, SIZES, [x[1:] for x in absent if x[0] == n]) for n, c in enumerate(result)]


def prepared(config, absent=(), chosen=(0, 1, 2)):
    """The model, the pack and the shape."""
    split = conversations(absent)
    names = [name for name in SIZES if name[0] in config.model.modalities and name != "utterance"]
    if config.model.utterance == "features" and "u" in config.model.modalities:
        names.insert(0, "utterance")
    normalization = Normalization.fit(split, names, bound=0.0)
    reads_text = config.model.utterance == "encoder" and "u" in config.model.modalities
    tokenizer, encoder = (make_tokenizer(), tiny_encoder(config, layers=1)) if reads_text else (None, None)
    examples = make_examples(split, LABELS, tokenizer, normalization, config)
    shape = pack_shape(examples, config)
    model = build_model(config, encoder, len(LABELS), shape)
    return model, build_pack([examples[index] for index in chosen], shape)


def jacobians(model, params, pack):
    """Modality -> bool [U, U]: whether the features of the second turn act on the first's output."""

    def output(features):
        return model.apply({"params": params}, pack.replace(features_UxM=features), deterministic=True)

    result = jax.jit(jax.jacrev(output))(pack.features_UxM)
    return {name: np.abs(x).max(axis=(1, 3)) > 0 for name, x in result.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_modality_acts_on_exactly_the_turns_that_may_see_it(kind):
    """Two layers of window 3: a context-dependent modality reaches 6 turns, a context-free one its own.

    MulT, with two layers of self-attention after crossmodal attention, reaches 9 more, which is further than the
    conversations are long.
    """
    config = configured(
        utterance="features",
        model__fusion__kind=kind,
        model__context__utterance="dependent",
        model__context__acoustic="free",
        model__context__visual="dependent",
    )
    model, pack = prepared(config)
    acts = jacobians(model, random_params(model), pack)
    same = (pack.conversation_U[:, None] == pack.conversation_U) & (pack.conversation_U >= 0)
    distance = pack.turn_U[:, None] - pack.turn_U
    reach = same & (distance >= 0) & (distance <= 6)
    if kind == "max":  # no gradient where another modality is larger: then not every neighbour shows
        assert not (acts["utterance"] & ~reach).any() and not (acts["visual"] & ~reach).any()
        assert not (acts["acoustic"] & ~(same & (distance == 0))).any()
        return
    if kind == "mult":
        used = pack.conversation_U >= 0
        for name in SIZES:
            np.testing.assert_array_equal(acts[name][used], (same & (distance >= 0))[used])
        return
    np.testing.assert_array_equal(acts["utterance"], reach)
    np.testing.assert_array_equal(acts["visual"], reach)
    np.testing.assert_array_equal(acts["acoustic"], same & (distance == 0))


def test_text_and_features_meet_at_the_same_turn():
    """With the encoder: another text at turn 4 acts on turns 4 and later, other acoustics at turn 4 on turn 4 alone."""
    config = configured(model__context__acoustic="free", model__context__visual="free")
    model, pack = prepared(config, chosen=[2])
    params = random_params(model)
    apply = jax.jit(lambda params, pack: model.apply({"params": params}, pack, deterministic=True))
    before = apply(params, pack)
    (own,) = np.flatnonzero((pack.sequence_ids_T == 4) & (pack.position_ids_T == 1))
    tokens, acoustic = pack.token_ids_T.copy(), pack.features_UxM["acoustic"].copy()
    tokens[own] = tokens[own] + 1 if tokens[own] < 60 else 4
    acoustic[4] += 1
    changed = (np.asarray(apply(params, pack.replace(token_ids_T=tokens))) != before).any(axis=1)
    assert changed[4] and not changed[:4].any() and changed[5:8].all()
    features = {**pack.features_UxM, "acoustic": acoustic}
    changed = (np.asarray(apply(params, pack.replace(features_UxM=features))) != before).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [4]


def test_a_turn_without_the_only_modality_sees_its_conversation_and_is_seen_by_none():
    config = configured("a", model__context__acoustic="dependent")
    model, pack = prepared(
        config, absent=[(n, turn, "acoustic") for n, turn in ((0, 2), (1, 0), (2, 0), (2, 7), (2, 8))]
    )
    params = random_params(model)
    used, present = pack.conversation_U >= 0, pack.present_U["acoustic"]
    assert (used & ~present).sum() == 5
    distance = pack.turn_U[:, None] - pack.turn_U
    near = (pack.conversation_U[:, None] == pack.conversation_U) & (distance >= 0) & (distance <= 3)
    sees = (near & present[None, :]) | np.eye(len(used), dtype=bool)  # its own state goes on beside attention
    acts = jacobians(model, params, pack)["acoustic"]
    np.testing.assert_array_equal(acts[used], (sees @ sees)[used])
    logits = np.asarray(jax.jit(lambda p, x: model.apply({"params": p}, x, deterministic=True))(params, pack))
    knowing = [slot for slot in np.flatnonzero(used & ~present) if (near & present[None, :])[slot].any()]
    assert len(knowing) == 3 and len(np.unique(logits[knowing].round(4), axis=0)) == 3
    ignorant = [slot for slot in np.flatnonzero(used & ~present) if slot not in knowing]
    np.testing.assert_allclose(logits[ignorant[0]], logits[ignorant[1]], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "context"),
    [*itertools.product(["mgif", "additive", "concat", "max"], ["free", "dependent"]), ("mult", "dependent")],
)
def test_what_a_turn_lacks_does_not_act(kind, context):
    config = configured(utterance="features", model__fusion__kind=kind, model__context__acoustic=context)
    model, pack = prepared(config, absent=[(0, 2, "acoustic"), (2, 8, "acoustic"), (2, 8, "visual")])
    assert np.flatnonzero(~pack.present_U["acoustic"][:16]).tolist() == [2, 15]
    acts = jacobians(model, random_params(model), pack)
    assert not acts["acoustic"][:, [2, 15]].any()
    assert not acts["visual"][:, 15].any()
    if kind != "max":
        assert acts["acoustic"][3, 3] and acts["utterance"][2, 2] and acts["visual"][14, 14]


@pytest.mark.parametrize(
    ("modalities", "utterance"),
    [*((subset, "features") for subset in EVERY_SUBSET), ("u", "encoder"), ("ua", "encoder"), ("uav", "encoder")],
)
def test_every_subset_packed_equals_each_conversation_alone(modalities, utterance):
    config = configured(modalities, utterance, model__context__visual="dependent")
    model, pack = prepared(config, absent=[(0, 3, "acoustic"), (2, 5, "visual")])
    params = random_params(model)
    apply = jax.jit(lambda pack: model.apply({"params": params}, pack, deterministic=True))
    logits = np.asarray(apply(pack))
    assert logits.shape == (len(pack.turn_U), len(LABELS)) and np.isfinite(logits).all()
    for number in range(3):
        _, alone = prepared(config, [(0, 3, "acoustic"), (2, 5, "visual")], chosen=[number])
        np.testing.assert_allclose(
            logits[pack.conversation_U == number], np.asarray(apply(alone))[: TURNS[number]], rtol=0, atol=TOLERANCE
        )


@pytest.mark.parametrize("modalities", EVERY_SUBSET)
def test_the_parameters_are_those_of_the_modalities(modalities):
    model, _ = prepared(configured(modalities))
    names = set(parameter_shapes(model))
    expected = {"discriminator"} | {name for name in ("acoustic", "visual") if name[0] in modalities}
    expected |= {"encoder", "intra_modal"} if "u" in modalities else set()
    expected |= {"fusion"} if len(modalities) > 1 else set()
    assert names == expected
    flat = flax.traverse_util.flatten_dict(parameter_shapes(model), sep="/")
    gates = {path.split("/")[1] for path in flat if path.startswith("fusion/gate")}
    assert gates == {f"gate_{x}{y}" for x, y in itertools.combinations(modalities, 2)}
    for name in expected & SIZES.keys():
        assert flat[f"{name}/projection/kernel"].shape == (SIZES[name], 14)


def test_one_modality_of_dialogue_trm_m_is_dialogue_trm_u():
    """The utterance branch of -M is the whole of -U but for the fusion: same names, same values."""
    model_u, pack = prepared(configured("u"))
    model_m, _ = prepared(configured("uav"))
    params = random_params(model_m)
    shared = {name: params[name] for name in parameter_shapes(model_u)}
    assert_trees_close(jax.tree.map(np.shape, shared), jax.tree.map(np.shape, parameter_shapes(model_u)), 0)
    logits = jax.jit(functools.partial(model_u.apply, deterministic=True))({"params": shared}, pack)
    assert np.isfinite(logits).all() and pack.features_UxM == {}


def test_gates_and_attention_of_the_whole_model_by_name():
    model, pack = prepared(configured(), absent=[(0, 2, "visual")])
    found = read_out(model, random_params(model), pack)
    utterances = len(pack.turn_U)
    for pair in ("ua", "uv", "av"):
        gate = found[f"fusion/gate_{pair}/value"]
        assert gate.shape == (utterances, 14) and gate.min() >= 0 and gate.max() <= 1
    np.testing.assert_array_equal(found["fusion/gate_uv/value"][2], 1)
    assert found["fusion/transformer/layer_1/attention/weights"].shape == (utterances, 2, 7, 7)
    assert found["acoustic/intra_modal/transformer/layer_0/attention/weights"].shape == (utterances, 2, 1)
    assert found["intra_modal/transformer/layer_0/attention/weights"].ndim == 4


@pytest.mark.parametrize(
    ("setting", "modalities", "message"),
    [
        (
            "model__intra_modal__heads",
            "a",
            "config.model.intra_modal.heads: expected a divisor of the width 14, found 4",
        ),
        ("model__fusion__heads", "av", "config.model.fusion.heads: expected a divisor of the width 14, found 4"),
    ],
)
def test_heads_that_do_not_divide_the_width_are_one_line(setting, modalities, message):
    with pytest.raises(InputError, match=message):
        prepared(configured(modalities, "features", **{setting: 4}))


WITH_HEADS = [kind for kind in KINDS if FUSIONS[kind].has_heads]


@pytest.mark.parametrize("kind", WITH_HEADS)
def test_heads_of_every_fusion_that_has_heads(kind):
    with pytest.raises(InputError, match="config.model.fusion.heads: expected a divisor of the width 14, found 4"):
        prepared(configured("ua", "features", model__fusion__heads=4, model__fusion__kind=kind))


def test_heads_of_what_is_not_built_do_not_matter():
    prepared(configured("a", "features", model__fusion__heads=4))
    assert set(WITH_HEADS) >= {"mgif", "mgif_without_prototype", "mult"}
    for kind in set(KINDS) - set(WITH_HEADS):
        prepared(configured("av", "features", model__fusion__heads=4, model__fusion__kind=kind))
