"""The PyTorch peers of the benchmark are the models of the transcriptions, with batches that are padded."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.plain_peer import PLAIN  # noqa: E402
from benchmarks.recurrent_peer import LEAN  # noqa: E402
from tests.baselines import CASES, SIZES  # noqa: E402
from tests.factories import LABELS  # noqa: E402
from tests.parity.baselines.transcriptions import TRANSCRIPTIONS  # noqa: E402

PEERS = {"lean": LEAN, "plain": PLAIN}
TESTED = {"dialogue_rnn": CASES["dialogue_rnn-both"], "dialogue_gcn": CASES["dialogue_gcn"]}
CELLS = {"g_cell": "global_cell", "p_cell": "party_cell", "e_cell": "emotion_cell", "score": "query"}


def of_peer(architecture, name, value):
    """Returns a peer's name and array for one of the transcription."""
    if architecture == "dialogue_rnn":
        return ".".join(CELLS.get(part, part) for part in name.split(".")), value
    if name.startswith("context."):
        _, layer, direction, _, kind = name.split(".")
        name = f"context.{kind}_l{layer}{'_reverse' if direction == 'backwards' else ''}"
    return name, value.flatten(0, 1) if name == "shares" else value


@pytest.mark.parametrize("form", PEERS)
@pytest.mark.parametrize("architecture", TESTED)
def test_the_peer_of_the_benchmark_is_the_same_model(architecture, form):
    case = TESTED[architecture]
    names = case.config().model.feature_modalities
    sizes = [SIZES[name] for name in names]
    torch.manual_seed(0)
    transcription = TRANSCRIPTIONS[architecture].module(case)
    for value in transcription.state_dict().values():
        torch.nn.init.normal_(value, std=0.4)
    own = getattr(case.config().model, architecture)
    peer = PEERS[form][architecture](sum(sizes), own, len(LABELS)).eval()
    state = transcription.state_dict().items()
    peer.load_state_dict(dict(of_peer(architecture, name, value) for name, value in state))
    turns = torch.tensor([9, 1, 4])
    vectors = [torch.randn(int(count), sum(sizes)) for count in turns]
    speakers = [torch.randint(0, 3, (int(count),)) for count in turns]
    found = peer(*map(torch.nn.utils.rnn.pad_sequence, (vectors, speakers)), turns)
    for number, (x, speaker) in enumerate(zip(vectors, speakers, strict=True)):
        expected = transcription(dict(zip(names, x.split(sizes, dim=1), strict=True)), speaker)
        torch.testing.assert_close(found[: len(x), number], expected, rtol=0, atol=1e-5)
