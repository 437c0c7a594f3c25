"""Models that have parts of their own for each modality: what a turn lacks takes no part; what SDT's students learn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.models import architecture
from dtrm_jax.models.layers.auxiliary import AUXILIARY
from tests.baselines import CASES, CONVERSATIONS, compiled, pack
from tests.factories import LABELS

LACKING = 4  # a turn of the first conversation


def without(batch, modality, *turns):
    present = {name: np.array(there) for name, there in batch.present_U.items()}
    present[modality][list(turns)] = False
    return batch.replace(present_U=present)


def filled(batch, modality, turn, value):
    features = {name: np.array(x) for name, x in batch.features_UxM.items()}
    features[modality][turn] = value
    return batch.replace(features_UxM=features)


@pytest.mark.parametrize("name", ["mmgcn", "sdt"])
def test_what_a_turn_lacks_reaches_no_turn(name):
    # In MMGCN, the recurrent layers below the graph read utterances, which are zeros where they lack.
    outputs, batch = compiled(name).outputs, without(pack(CONVERSATIONS), "acoustic", LACKING)
    found = [outputs(filled(batch, "acoustic", LACKING, value)) for value in (0.0, 2.0)]
    used = batch.conversation_U >= 0
    others = used & (np.arange(len(used)) != LACKING)
    np.testing.assert_allclose(found[1][others], found[0][others], rtol=0, atol=1e-6)
    whole = outputs(pack(CONVERSATIONS))
    assert np.abs(whole - found[0])[others][: len(CONVERSATIONS[0]) - 1].mean() > 1e-4, "else, others see it"


@pytest.mark.parametrize("name", ["mmgcn", "sdt"])
def test_turns_that_are_alike_or_lack_everything_have_finite_gradients(name):
    """The slope of MMGCN's arccos is infinite at equal nodes, that of a vector's length at zeros."""
    batch = pack(CONVERSATIONS)
    batch = batch.replace(
        speaker_U=np.minimum(batch.speaker_U, 0),
        features_UxM={modality: np.ones_like(x) * (modality != "visual") for modality, x in batch.features_UxM.items()},
    )
    for modality in batch.features_UxM:
        batch = without(batch, modality, LACKING)
    weights = np.ones((len(batch.turn_U), len(LABELS)), np.float32) * (batch.conversation_U >= 0)[:, None]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(compiled(name).pull_back(batch, weights)))
    assert np.isfinite(compiled(name).outputs(batch)).all()


def learned(batch, *, values=0, distillation=1.0):
    """Returns SDT's auxiliary losses with a task's loss that is the weighted sum of all outputs, and all outputs."""
    model, params, *_ = compiled("sdt")
    config = CASES["sdt"].config()
    config.model.sdt.distillation_weight = distillation
    model = dataclasses.replace(model, config=config.model, shape=dataclasses.replace(model.shape, values=values))
    apply = jax.jit(functools.partial(model.apply, deterministic=True, mutable=[AUXILIARY]))
    rows, sown = apply({"params": params}, batch)
    found = model.auxiliary_losses(sown[AUXILIARY], rows, batch, lambda y, pack: (y.sum(axis=1) * pack.weight_U).sum())
    return found, rows, {name: sown[AUXILIARY][f"by_{name}"][0] for name in ("utterance", "acoustic", "visual")}


def test_students_learn_from_the_turns_that_have_their_modality_and_count():
    batch = without(pack(CONVERSATIONS), "acoustic", LACKING)
    batch = batch.replace(weight_U=batch.weight_U * (np.arange(len(batch.turn_U)) % 5 > 0))
    found, rows, students = learned(batch)
    for name, student in students.items():
        counts = batch.weight_U * batch.present_U[name]
        assert counts[LACKING] == (name != "acoustic")
        np.testing.assert_allclose(found[f"labels_{name}"], 0.5 * (student.sum(axis=1) * counts).sum(), rtol=1e-5)
        soft, soft_student = (jax.nn.softmax(np.asarray(logits, np.float64) / 2.0) for logits in (rows, student))
        divergence = (soft * (jnp.log(soft) - jnp.log(soft_student))).sum(axis=1)
        np.testing.assert_allclose(found[f"distillation_{name}"], (divergence * counts).sum(), rtol=1e-4)


def test_students_of_real_values_follow_the_values():
    batch = pack(CONVERSATIONS)
    value_weight = np.cos(np.arange(len(batch.turn_U) * len(LABELS), dtype=np.float32)).reshape(-1, len(LABELS)) > 0
    batch = without(batch.replace(value_weight_UxV=value_weight.astype(np.float32)), "visual", LACKING)
    found, rows, students = learned(batch, values=len(LABELS), distillation=3.0)
    for name, student in students.items():
        counts = value_weight * batch.present_U[name][:, None]
        expected = 3.0 * (counts * np.square(rows - student)).sum()
        np.testing.assert_allclose(found[f"distillation_{name}"], expected, rtol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused():
    config = CASES["sdt"].config()
    config.model.sdt.heads = 4
    with pytest.raises(InputError, match=r"config\.model\.sdt\.heads: expected a divisor of the width 6, found 4"):
        architecture(config)
