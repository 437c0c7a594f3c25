"""Reading an utterance by the mean of its own tokens instead of its [CLS]."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import build_pack
from dtrm_jax.models.encoders.reading import mean_of_utterance
from tests.factories import random_examples, random_params, tiny_config, tiny_model

SHAPE = PackShape(rows=((29, 5), (17, 7)), utterances=13)


@pytest.fixture(scope="module")
def pack():
    return build_pack(random_examples(3, (5, 1, 3), tiny_config()), SHAPE)


def test_a_long_utterance_is_counted_exactly_in_bfloat16():
    mean = mean_of_utterance(jnp.ones((400, 2), jnp.bfloat16), jnp.zeros(400, jnp.int32), 1)
    np.testing.assert_array_equal(mean, np.ones((1, 2)))


def test_pooling_changes_the_outcome_and_context_reaches_the_mean_through_attention(pack):
    def logits(pack, **settings):
        model = tiny_model(tiny_config(**settings), SHAPE)
        return jax.jit(lambda p, b: model.apply({"params": p}, b, deterministic=True))(random_params(model), pack)

    by_mean = logits(pack, model__encoder__pooling="mean")
    assert np.abs(by_mean - logits(pack)).max() > 1e-3
    context = (pack.segment_ids_T == 1) & (pack.token_ids_T > 3)
    changed = pack.replace(token_ids_T=np.where(context, 4, pack.token_ids_T))
    assert np.abs(by_mean - logits(changed, model__encoder__pooling="mean")).max() > 1e-3


def test_the_last_layer_need_not_finish_what_nobody_reads(pack):
    examples = random_examples(3, (5, 1, 3), tiny_config())
    own = dataclasses.replace(SHAPE, own_tokens=sum(example.own_count for example in examples) + 3)
    assert own.own_tokens < SHAPE.tokens / 2
    config = tiny_config(model__encoder__pooling="mean")
    params = random_params(tiny_model(config, SHAPE))

    def outcome(shape):
        model = tiny_model(config, shape)

        def total(params):
            logits = model.apply({"params": params}, pack, deterministic=True)
            return jnp.sum(jnp.sin(logits) * pack.weight_U[:, None]), logits

        return jax.jit(jax.grad(total, has_aux=True))(params)

    (gradient, logits), (all_gradient, all_logits) = outcome(own), outcome(SHAPE)
    used = pack.turn_U.shape[0] - int((pack.conversation_U < 0).sum())
    np.testing.assert_allclose(logits[:used], all_logits[:used], atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), gradient, all_gradient)


def test_a_pack_with_more_own_tokens_than_there_is_room_for_is_refused():
    examples = random_examples(3, (5, 1, 3), tiny_config())
    needed = sum(example.own_count for example in examples)
    build_pack(examples, dataclasses.replace(SHAPE, own_tokens=needed))
    with pytest.raises(ValueError, match=f"at most {needed - 1} own tokens in a pack, found {needed}"):
        build_pack(examples, dataclasses.replace(SHAPE, own_tokens=needed - 1))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_without_segments_context_is_embedded_as_the_utterance_is_and_nothing_else_changes(pack, pooling):
    config = tiny_config(model__encoder__pooling=pooling, tokens__segments=False)
    without = build_pack(random_examples(3, (5, 1, 3), config), SHAPE)
    model = tiny_model(config, SHAPE)
    params = random_params(model)
    table = params["encoder"]["embeddings"]["token_type_embeddings"]
    same_row = jax.tree.map(lambda rows: jnp.stack([rows[0], rows[0]]), table)
    embeddings = {**params["encoder"]["embeddings"], "token_type_embeddings": same_row}
    told_nothing = {**params, "encoder": {**params["encoder"], "embeddings": embeddings}}

    def logits(pack, params):
        return jax.jit(lambda p: model.apply({"params": p}, pack, deterministic=True))(params)

    np.testing.assert_allclose(logits(without, params), logits(pack, told_nothing), atol=1e-6)
    assert np.abs(logits(without, params) - logits(pack, params)).max() > 1e-3
