"""CMN in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


def states(gru, inputs):
    """Returns the states of a GRU after each of some inputs, from zeros."""
    h, found = torch.zeros(1, gru.hidden_size), []
    for x in inputs:
        h = gru(x[None], h)
        found.append(h[0])
    return found


def read(q, memories):
    """Attends to memories; zeros if there are none."""
    if not memories:
        return torch.zeros_like(q)
    weights = torch.stack([torch.tanh(q @ m) for m in memories]).softmax(dim=0)
    return sum(weight * m for weight, m in zip(weights, memories, strict=True))


class CMN(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/cmn.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.cmn
        self.window, self.hops = own.window, own.hops
        self.query = nn.Linear(case.inputs, own.width)
        self.first = nn.ModuleDict({side: nn.GRUCell(case.inputs, own.width) for side in ("own", "others")})
        self.again = nn.ModuleDict({side: nn.GRUCell(own.width, own.width) for side in ("own", "others")})
        self.output = nn.Linear(own.width, len(LABELS))

    def forward(self, vectors, speakers):
        x = torch.cat(list(vectors.values()), dim=1)
        return torch.stack([self.turn(x, speakers, t) for t in range(len(x))])

    def turn(self, x, speakers, t):
        past = range(max(0, t - self.window), t)
        turns = {
            "own": [x[j] for j in past if speakers[j] == speakers[t]],
            "others": [x[j] for j in past if speakers[j] != speakers[t]],
        }
        memories = {side: [torch.tanh(h) for h in states(self.first[side], own)] for side, own in turns.items()}
        q = torch.tanh(self.query(x[t]))
        for _ in range(self.hops):
            memories = {side: states(self.again[side], of_side) for side, of_side in memories.items()}
            q = torch.tanh(q + read(q, memories["own"]) + read(q, memories["others"]))
        return self.output(q)


def to_torch(params):
    """See ``comparison``."""
    result = linear("query", params["query"]) | linear("output", params["output"])
    for side in ("own", "others"):
        result |= cell(f"first.{side}", params[side]) | cell(f"again.{side}", params[f"{side}_memory"])
    return result
