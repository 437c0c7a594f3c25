"""The summary of attention and gates against dense attention, one conversation at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.plans import pack_shape, plan_evaluation
from dtrm_jax.evaluation.evaluator import Evaluator
from dtrm_jax.evaluation.files.inside_columns import ordered
from dtrm_jax.evaluation.intermediates import read_out
from dtrm_jax.inference.compiled import make_inspect, parameter_shapes
from dtrm_jax.models import build_model
from dtrm_jax.models.dialogue_trm.insides import weights_by_distance
from dtrm_jax.models.layers import attention, neighbours
from dtrm_jax.tasks import Classes
from tests.factories import (
    LABELS,
    random_conversation,
    random_params,
    random_params_like,
    tiny_config,
    with_features,
)
from tests.fusions import side_by_side

SIZES = {"utterance": 7, "acoustic": 5, "visual": 3}
TURNS = (29, 1, 13)  # more than two blocks of 8 turns
# Conversation, turn, modality: among them the turns before turn 5 that turn 5 would see.
ABSENT = (*((0, turn, "acoustic") for turn in (2, 3, 4, 28)), (1, 0, "visual"), (2, 0, "acoustic"), (2, 0, "visual"))
DEPENDENT = {f"model__context__{name}": "dependent" for name in SIZES}


def configured(**settings):
    tiny = {
        **{"model__modalities": "uav", "model__utterance": "features", "model__encoder__hidden_size": 14},
        **{f"model__fusion__{name}": value for name, value in {"layers": 2, "heads": 2, "feed_forward": 13}.items()},
        "packing__utterances": 47,
    }
    return tiny_config(**{**tiny, **settings})


def prepared(config):
    """The model for packs of the whole split, and the split."""
    random = np.random.default_rng(1)
    split = [random_conversation(random, turns) for turns in TURNS]
    split = [with_features(random, c, SIZES, [x[1:] for x in ABSENT if x[0] == n]) for n, c in enumerate(split)]
    names = [name for name in SIZES if name[0] in config.model.modalities]
    normalization = Normalization.fit(split, names, bound=0.0)
    examples = make_examples(split, LABELS, None, normalization, config)
    return build_model(config, None, len(LABELS), pack_shape(examples, config)), examples


@pytest.mark.parametrize("future", [0, 2])
@pytest.mark.parametrize(("turns", "unused", "window"), [((29, 1, 13), 4, 3), ((2, 41), 0, 9), ((5, 6), 2, 4)])
def test_weights_by_distance_are_those_of_dense_attention(turns, unused, window, future):
    place = side_by_side(turns, unused)
    utterances = len(place.turn_U)
    q, k, v = np.random.default_rng(0).normal(size=(3, utterances, 2, 5)).astype(np.float32) * 2
    _, weights = attention.banded_attention(q, k, v, *map(jnp.asarray, place), window, lambda w: w, future=future)
    found = np.asarray(weights_by_distance(weights, *map(jnp.asarray, place), window))

    expected = np.zeros((utterances, window + 1))
    for i in range(sum(turns)):
        seen = [
            i - d for d in range(window + 1) if i - d >= 0 and place.conversation_U[i - d] == place.conversation_U[i]
        ]
        past = len(seen)
        later = range(i + 1, min(utterances, i + 1 + future))
        seen += [j for j in later if place.conversation_U[j] == place.conversation_U[i]]
        scores_HxS = np.einsum("he,she->hs", q[i], k[seen]) / np.sqrt(5)
        exponentials = np.exp(scores_HxS - scores_HxS.max(axis=1, keepdims=True))
        expected[i, :past] = (exponentials / exponentials.sum(axis=1, keepdims=True)).mean(axis=0)[:past]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def dense(model, params, example, monkeypatch):
    """Modality -> [L, L] attention of a conversation alone in one block, averaged over heads and layers."""
    monkeypatch.setattr(neighbours, "_block_size", lambda reach: 1000)
    found = read_out(model, params, build_pack([example], model.shape))
    turns = len(example.labels)
    result = {}
    for name in SIZES:
        layers = [found[f"{name}/intra_modal/transformer/layer_{index}/attention/weights"] for index in (0, 1)]
        result[name] = np.mean([layer[0].mean(axis=0) for layer in layers], axis=0)[:turns, :turns]
    return result


@pytest.mark.parametrize("future", [0, 2])
def test_the_attended_turn_is_that_of_dense_attention_alone(monkeypatch, future):
    config = configured(**DEPENDENT, tokens__future=future)
    model, examples = prepared(config)
    params, plan = random_params(model), plan_evaluation(examples, config)
    evaluator = Evaluator.build(model.clone(shape=plan.shape), plan, examples, Classes(LABELS))
    assert [sorted(pack.members) for pack in plan.packs] == [[0, 1, 2]]  # packed, in three blocks and more
    outputs, insides = evaluator.outputs_and_insides(params)
    for plain, one in zip(evaluator.outputs(params), outputs, strict=True):
        np.testing.assert_allclose(one, plain, atol=1e-6)
    named = 0
    for number, example in enumerate(examples):
        for modality, weights_LxL in dense(model, params, example, monkeypatch).items():
            there = ~np.isnan(example.features[modality]).any(axis=1)
            turn_L, weight_L, self_L = (
                insides[number][f"attended_{what}_{modality[0]}"] for what in ("turn", "weight", "self")
            )
            assert (f"inside_later_{modality[0]}" in insides[number]) == (future > 0)
            later_L = insides[number].get(f"inside_later_{modality[0]}", np.where(there, 0, np.nan))
            for i in range(TURNS[number]):
                later = [j for j in range(i + 1, min(TURNS[number], i + 1 + future)) if there[j]]
                if there[i]:
                    assert later_L[i] == pytest.approx(weights_LxL[i, later].sum(), abs=1e-6)
                    assert (later_L[i] > 1e-3) == bool(later)
                else:
                    assert np.isnan(later_L[i])
                seen = [j for j in range(max(0, i - 3), i) if there[i] and there[j]]
                if not there[i]:
                    assert np.isnan(self_L[i])
                else:
                    assert self_L[i] == pytest.approx(weights_LxL[i, i], abs=1e-6)
                if not seen:
                    assert turn_L[i] == -1 and np.isnan(weight_L[i])
                    continue
                assert turn_L[i] == max(seen, key=lambda j: weights_LxL[i, j])
                assert weight_L[i] == pytest.approx(weights_LxL[i, seen].max(), abs=1e-6)
                assert weights_LxL[i, seen].sum() + self_L[i] + later_L[i] == pytest.approx(1, abs=1e-5)
                named += 1
    assert named > 3 * sum(TURNS) - 40


@pytest.mark.parametrize("kind", ["mgif", "mgif_without_representation", "mgif_without_prototype"])
def test_gates_and_the_attention_of_e_cls_are_means_of_what_the_model_sows(kind):
    model, examples = prepared(configured(model__fusion__kind=kind))
    params, pack = random_params(model), build_pack(examples, model.shape)
    _, found = jax.tree.map(np.asarray, make_inspect(model, Classes(LABELS))(params, pack))
    whole = read_out(model, params, pack)
    used = pack.conversation_U >= 0
    there = {name[0]: pack.present_U[name] for name in SIZES}
    gates = {name: values for name, values in found.items() if name.startswith("gate")}
    assert ordered(gates) == ([] if kind == "mgif_without_prototype" else ["gate_ua", "gate_uv", "gate_av"])
    for name, gate_U in gates.items():
        expected = np.where(there[name[-2]] & there[name[-1]], whole[f"fusion/{name}/value"].mean(axis=1), np.nan)
        np.testing.assert_allclose(gate_U[used], expected[used], atol=1e-6)
        assert np.isnan(gate_U[used]).any() and not np.isnan(gate_U[used]).all()
    fusion = {name: values for name, values in found.items() if name.startswith("fusion")}
    names = {
        "mgif": ["e_CLS", "ua", "au", "uv", "vu", "av", "va"],
        "mgif_without_prototype": ["e_CLS", "u", "a", "v"],
        "mgif_without_representation": [],
    }[kind]
    assert ordered(fusion) == [f"fusion_{name}" for name in names]
    for index, (name, weight_U) in enumerate(zip(names, (fusion[f"fusion_{name}"] for name in names), strict=True)):
        layers = [whole[f"fusion/transformer/layer_{layer}/attention/weights"][:, :, 0, index] for layer in (0, 1)]
        expected = np.mean(layers, axis=0).mean(axis=1)
        assert (expected[used & ~there.get(name[0], used)] == 0).all()
        expected[~there.get(name[0], used)] = np.nan
        np.testing.assert_allclose(weight_U[used], expected[used], atol=1e-6)
    if names:
        np.testing.assert_allclose(np.nansum(list(fusion.values()), axis=0)[used], 1, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model__context__utterance": "free", "model__fusion__kind": "additive"}, ""),
        ({"model__intra_modal__layers": 0, "model__fusion__kind": "gmu"}, ""),
        ({"model__modalities": "u"}, "attended_turn_u attended_weight_u attended_self_u"),
        ({"model__modalities": "v"}, ""),
        ({"model__modalities": "uv", "model__context__utterance": "free", "model__fusion__layers": 0}, "gate_uv"),
        ({"model__modalities": "ua", "model__fusion__kind": "mult", "model__context__utterance": "free"}, ""),
        ({"model__modalities": "u", "tokens__window": 0}, "attended_turn_u attended_weight_u attended_self_u"),
        (
            {"model__modalities": "av", "model__context__visual": "dependent", "model__dtype": "bfloat16"},
            "attended_turn_v attended_weight_v attended_self_v gate_av fusion_e_CLS fusion_av fusion_va",
        ),
    ],
)
def test_a_model_without_a_part_says_nothing_of_it(settings, expected):
    model, examples = prepared(configured(**settings))
    params, pack = random_params_like(parameter_shapes(model)), build_pack(examples, model.shape)
    _, found = jax.eval_shape(make_inspect(model, Classes(LABELS)), params, pack)
    assert ordered(found) == expected.split()
    for name, column in found.items():
        assert column.shape == (model.shape.utterances,)
        assert column.dtype == (jnp.int32 if "turn" in name else jnp.float32)
