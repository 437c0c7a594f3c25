"""Every baseline against its transcription in PyTorch: same weights, same conversations, float32."""

import pytest

torch = pytest.importorskip("torch")

from tests.baselines import CASES  # noqa: E402
from tests.parity.baselines.comparison import assert_equal  # noqa: E402
from tests.parity.baselines.transcriptions import TRANSCRIPTIONS  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_it_equals_its_transcription(name):
    case = CASES[name]
    transcription = TRANSCRIPTIONS[case.architecture]
    assert_equal(case, transcription.module(case), transcription.to_torch)
