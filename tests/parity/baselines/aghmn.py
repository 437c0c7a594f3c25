"""AGHMN in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.cmn import states
from tests.parity.baselines.comparison import cell, linear


class AttentionGRU(nn.Module):
    """``W_r, W_n`` and ``U_r, U_n``, side by side."""

    def __init__(self, width):
        super().__init__()
        self.inputs, self.hidden = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)

    def forward(self, memories, attention):
        h = torch.zeros_like(memories[0])
        for m, a in zip(memories, attention, strict=True):
            (w_r, w_n), (u_r, u_n) = self.inputs(m).chunk(2), self.hidden(h).chunk(2)
            n = torch.tanh(w_n + torch.sigmoid(w_r + u_r) * u_n)
            h = a * n + (1 - a) * h
        return h


class AGHMN(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/aghmn.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.aghmn
        self.window = own.window
        self.utterance = nn.Linear(case.inputs, own.width)
        self.forwards = nn.GRUCell(own.width, own.width)
        self.backwards = nn.GRUCell(own.width, own.width) if own.fusion == "bif" else None
        ways = 2 if own.summary == "biagru" else 1
        self.hops = nn.ModuleList(nn.ModuleList(AttentionGRU(own.width) for _ in range(ways)) for _ in range(own.hops))
        self.output = nn.Linear(own.width, len(LABELS))

    def forward(self, vectors, speakers):
        u = torch.tanh(self.utterance(torch.cat(list(vectors.values()), dim=1)))
        return torch.stack([self.turn(u[max(0, t - self.window) : t], u[t]) for t in range(len(u))])

    def turn(self, past, q):
        if len(past):
            memories = past + torch.stack(states(self.forwards, past))
            if self.backwards is not None:
                memories = memories + torch.stack(states(self.backwards, past.flip(0))).flip(0)
            for grus in self.hops:
                attention = (memories @ q).softmax(dim=0)
                q = q + grus[0](memories, attention)
                if len(grus) == 2:
                    q = q + grus[1](memories.flip(0), attention.flip(0))
        return self.output(q)


def to_torch(params):
    """See ``comparison``."""
    result = linear("utterance", params["utterance"]) | linear("output", params["output"])
    for name, part in params.items():
        if name in ("forward", "backward"):
            result |= cell(f"{name}s", part)
        elif name.startswith("summary"):
            _, hop, *rest = name.split("_")
            place = f"hops.{hop}.{len(rest)}"
            result |= linear(f"{place}.inputs", part["inputs"]) | linear(f"{place}.hidden", part["hidden"])
    return result
