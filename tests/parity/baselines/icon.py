"""ICON in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.cmn import read, states
from tests.parity.baselines.comparison import cell, linear


class ICON(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/icon.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.icon
        self.window, self.hops, width = own.window, own.hops, own.width
        self.query = nn.Linear(case.inputs, width)
        self.own, self.others = nn.GRUCell(case.inputs, width), nn.GRUCell(case.inputs, width)
        self.glob, self.memory = nn.GRUCell(width, width), nn.GRUCell(width, width)
        self.output = nn.Linear(width, len(LABELS))

    def forward(self, vectors, speakers):
        x = torch.cat(list(vectors.values()), dim=1)
        return torch.stack([self.turn(x, speakers, t) for t in range(len(x))])

    def turn(self, x, speakers, t):
        h = dict.fromkeys((True, False), torch.zeros(1, self.own.hidden_size))
        inputs = []
        for j in range(max(0, t - self.window), t):
            is_own = bool(speakers[j] == speakers[t])
            h[is_own] = (self.own if is_own else self.others)(x[j : j + 1], h[is_own])
            inputs.append(torch.tanh(h[is_own][0]))
        memories = states(self.glob, inputs)
        q = torch.tanh(self.query(x[t]))
        for _ in range(self.hops):
            q = torch.tanh(q + read(q, memories))
            memories = states(self.memory, memories)
        return self.output(q)


def to_torch(params):
    """See ``comparison``."""
    result = linear("query", params["query"]) | linear("output", params["output"])
    for theirs, ours in (("own", "own"), ("others", "others"), ("glob", "global"), ("memory", "memory")):
        result |= cell(theirs, params[ours])
    return result
