"""TL-ERC in plain PyTorch, turn by turn, and the decoder of the generative model, token by token."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.cmn import states
from tests.parity.baselines.comparison import cell, linear


class TLERC(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/tl_erc.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.tl_erc
        self.context = nn.GRUCell(case.inputs, own.width)
        self.to_decoder = nn.Linear(own.width, own.width)
        self.output = nn.Linear(own.width, len(LABELS))

    def forward(self, vectors, speakers):
        h = torch.stack(states(self.context, torch.cat(list(vectors.values()), dim=1)))
        return self.output(torch.tanh(self.to_decoder(h)))


def to_torch(params):
    """See ``comparison``."""
    result = cell("context", params["context"]["cell"])
    for name in ("to_decoder", "output"):
        result |= linear(name, params[name])
    return result


class Decoder(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/hred.py``, for one utterance."""

    def __init__(self, vocabulary: int, embedding: int, width: int):
        super().__init__()
        self.words = nn.Embedding(vocabulary, embedding)
        self.cell = nn.GRUCell(embedding, width)
        self.output = nn.Linear(width, vocabulary)

    def forward(self, d, tokens):
        s, losses = d[None], []
        for before, token in zip(tokens, tokens[1:], strict=False):
            s = self.cell(self.words(torch.tensor([before])), s)
            losses.append(-self.output(s)[0].log_softmax(dim=0)[token])
        return torch.stack(losses).mean()


def decoder_to_torch(params):
    """As ``to_torch``, of the decoder."""
    words = {"words.weight": params["words"]["embedding"]}
    return words | cell("cell", params["cell"]) | linear("output", params["output"])
