"""The PyTorch peer of the benchmark is the DialogueGCN of the transcription, with batches that are padded."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks.graph_peer import DialogueGCN  # noqa: E402
from tests.baselines import CASES, SIZES  # noqa: E402
from tests.factories import LABELS  # noqa: E402
from tests.parity.baselines import dialogue_gcn  # noqa: E402


def test_the_peer_of_the_benchmark_is_the_same_model():
    case = CASES["dialogue_gcn"]
    torch.manual_seed(0)
    transcription = dialogue_gcn.DialogueGCN(case)
    arrays = {}
    for name, value in transcription.state_dict().items():
        torch.nn.init.normal_(value, std=0.4)
        if name.startswith("context."):
            _, layer, direction, _, kind = name.split(".")
            name = f"context.{kind}_l{layer}{'_reverse' if direction == 'backwards' else ''}"
        arrays[name] = value.flatten(0, 1) if name == "shares" else value
    peer = DialogueGCN(SIZES["utterance"], case.config().model.dialogue_gcn, len(LABELS)).eval()
    peer.load_state_dict(arrays)
    turns = torch.tensor([9, 1, 4])
    vectors = [torch.randn(int(count), SIZES["utterance"]) for count in turns]
    speakers = [torch.randint(0, 3, (int(count),)) for count in turns]
    found = peer(*map(torch.nn.utils.rnn.pad_sequence, (vectors, speakers)), turns)
    for number, (x, speaker) in enumerate(zip(vectors, speakers, strict=True)):
        expected = transcription({"utterance": x}, speaker)
        torch.testing.assert_close(found[: len(x), number], expected, rtol=0, atol=1e-5)
