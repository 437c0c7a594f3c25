"""CMN and ICON know two sides of a conversation; what becomes of more speakers."""

import numpy as np
import pytest

from dtrm_jax.config import Config
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.errors import InputError
from tests.baselines import compiled, pack
from tests.factories import LABELS, make_conversation

both = pytest.mark.parametrize("name", ["cmn", "icon"])


@both
def test_the_others_are_one_side(name):
    """Whoever speaks, it makes no difference how many the others are."""
    several, one = (compiled(name).outputs(pack([speakers])) for speakers in ("ABCADBACDA", "ABBABBABBA"))
    of_a = [turn for turn, speaker in enumerate("ABCADBACDA") if speaker == "A"]
    np.testing.assert_array_equal(several[of_a], one[of_a])
    assert np.abs(several[9] - one[8]).max() > 1e-3


@both
def test_more_speakers_can_be_refused(name):
    config = Config()
    config.model.architecture = name
    conversations = [make_conversation(speakers, "ab" * 2, [None] * 4, speakers) for speakers in ("XYXY", "XYZX")]
    arguments = (conversations, LABELS, None, Normalization({}, {}), config)
    assert len(make_examples(*arguments)) == 2
    getattr(config.model, name).more_speakers = "refuse"
    assert len(make_examples(conversations[:1], *arguments[1:])) == 1
    with pytest.raises(
        InputError,
        match=rf"^conversation XYZX: expected at most 2 speakers \(config.model.{name}.more_speakers=refuse\), found",
    ):
        make_examples(*arguments)
