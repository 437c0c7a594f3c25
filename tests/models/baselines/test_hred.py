"""What the generative model is trained on: the next utterance's own tokens, whatever its context and its pack."""

import numpy as np
import pytest

from dtrm_jax.batch import PackShape
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.models import architecture
from dtrm_jax.models.baselines.hred import next_utterances
from tests.factories import random_examples, tiny_config

LONGEST = 4


def test_the_next_utterance_is_what_is_said_next():
    examples = random_examples(3, [4, 1, 3], tiny_config(), words=6)
    pack = build_pack(examples, PackShape(((29, 9),), 10))
    tokens, there = (np.asarray(found) for found in next_utterances(pack, LONGEST))
    expected = []
    for example in examples:
        expected += [one.token_ids[: one.first_segment][: LONGEST + 1] for one in example.sequences[1:]] + [()]
    for turn in range(10):
        own = expected[turn] if turn < len(expected) else ()
        np.testing.assert_array_equal(tokens[turn][there[turn]], own)
        assert not there[turn, len(own) :].any()
    assert any(len(own) == LONGEST + 1 for own in expected) and any(2 < len(own) <= LONGEST for own in expected)


PROPER = {"data__labels": "none", "train__select_last": True, "model__architecture": "hred"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data__labels": ""}, r"config.data.labels: expected none, .* found nothing$"),
        ({"train__select_last": False}, r"config.train.select_last: expected True, .* found False$"),
        ({"model__modalities": "ua"}, r"config.model: expected modalities=u .*modalities=ua"),
        ({"model__utterance": "features"}, r"config.model: expected .*utterance=features$"),
        ({"tokens__future": 2}, r"config.tokens.future: expected 0, .* found 2$"),
    ],
)
def test_what_it_cannot_learn_from_is_refused(changed, message):
    architecture(tiny_config(**PROPER))
    with pytest.raises(InputError, match=f"^{message}"):
        architecture(tiny_config(**PROPER | changed))
