"""Reading an utterance by the mean of its segment 0 instead of its [CLS]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import build_pack
from dtrm_jax.models.dialogue_trm import mean_of_utterance
from tests.factories import random_examples, random_params, tiny_config, tiny_model

SHAPE = PackShape(rows=((29, 5), (17, 7)), utterances=13)


@pytest.fixture(scope="module")
def pack():
    return build_pack(random_examples(3, (5, 1, 3), tiny_config()), SHAPE)


def test_a_long_utterance_is_counted_exactly_in_bfloat16():
    shape = PackShape(rows=((400, 1),), utterances=1)
    config = tiny_config(tokens__max_length=400)
    pack = build_pack(random_examples(0, (1,), config, words=2), shape)
    pack = pack.replace(sequence_ids_T=np.zeros(400, np.int32))
    np.testing.assert_array_equal(mean_of_utterance(jnp.ones((400, 2), jnp.bfloat16), pack), np.ones((1, 2)))


def test_pooling_changes_the_outcome_and_context_reaches_the_mean_through_attention(pack):
    def logits(pack, **settings):
        model = tiny_model(tiny_config(**settings), SHAPE)
        return jax.jit(lambda p, b: model.apply({"params": p}, b, deterministic=True))(random_params(model), pack)

    by_mean = logits(pack, model__encoder__pooling="mean")
    assert np.abs(by_mean - logits(pack)).max() > 1e-3
    context = (pack.segment_ids_T == 1) & (pack.token_ids_T > 3)
    changed = pack.replace(token_ids_T=np.where(context, 4, pack.token_ids_T))
    assert np.abs(by_mean - logits(changed, model__encoder__pooling="mean")).max() > 1e-3
