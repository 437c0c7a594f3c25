"""BiERU in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


class BiERU(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/bieru.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.bieru
        self.context, width = own.context, own.width
        self.utterance = nn.Linear(case.inputs, width)
        self.V = nn.Parameter(torch.zeros(width, 2 * width, 2 * width))
        self.W = nn.Linear(2 * width, width)
        self.lstm = nn.LSTMCell(width, width)
        self.convolution = nn.Conv1d(1, 1, 5, stride=2, padding=4)
        self.output = nn.Linear(2 * (width + (width + 8 - 5) // 2 + 1), len(LABELS))

    def forward(self, vectors, speakers):
        u = self.utterance(torch.cat(list(vectors.values()), dim=1))
        forward, backward = self.one_way(u), self.one_way(u.flip(0)).flip(0)
        return self.output(torch.cat([forward, backward], dim=1))

    def one_way(self, u):
        h = c = torch.zeros(1, self.lstm.hidden_size)
        context, found = u[0], []
        for u_t in u:
            m = torch.cat([context, u_t])
            bilinear = torch.stack([m @ matrix @ m for matrix in self.V])
            p = torch.sigmoid(bilinear + self.W(m))
            h, c = self.lstm(p[None], (h, c))
            found.append(torch.cat([h[0], self.convolution(p[None, None])[0, 0]]))
            context = u_t if self.context == "local" else p
        return torch.stack(found)


def to_torch(params):
    """See ``comparison``."""
    result = linear("utterance", params["utterance"]) | linear("output", params["output"])
    result |= linear("W", params["linear"]) | cell("lstm", params["lstm"])
    convolution = params["convolution"]
    kernel = {"convolution.weight": convolution["kernel"].transpose(2, 1, 0), "convolution.bias": convolution["bias"]}
    return result | kernel | {"V": params["tensor"].transpose(2, 0, 1)}
