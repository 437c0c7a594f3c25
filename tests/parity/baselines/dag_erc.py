"""DAG-ERC in plain PyTorch, layer by layer and turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


class DAGLayer(nn.Module):
    def __init__(self, width, same_speaker, window):
        super().__init__()
        self.same_speaker, self.window = same_speaker, window
        # Meets the predecessor; what meets the turn itself is the same for all predecessors.
        self.score = nn.Parameter(torch.zeros(width))
        self.same = nn.Linear(width, width, bias=False)
        self.other = nn.Linear(width, width, bias=False)
        self.nodal = nn.GRUCell(width, width)
        self.contextual = nn.GRUCell(width, width)

    def predecessors(self, i, speakers):
        found, own = [], 0
        for j in range(i - 1, max(-1, i - 1 - self.window), -1):
            found.append(j)
            own += bool(speakers[j] == speakers[i])
            if own == self.same_speaker:
                break
        return found

    def forward(self, before, speakers):
        states = []
        for i in range(len(before)):
            m = torch.zeros_like(before[i])
            if edges := self.predecessors(i, speakers):
                a = torch.stack([self.score @ states[j] for j in edges]).softmax(dim=0)
                for weight, j in zip(a, edges, strict=True):
                    m = m + weight * (self.same if speakers[j] == speakers[i] else self.other)(states[j])
            nodal = self.nodal(before[i][None], m[None])[0]
            states.append(nodal + self.contextual(m[None], before[i][None])[0])
        return torch.stack(states)


class DAGERC(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/dag_erc.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.dag_erc
        self.input = nn.Linear(case.inputs, own.width)
        self.layers = nn.ModuleList([DAGLayer(own.width, own.same_speaker, own.window) for _ in range(own.layers)])
        self.hidden = nn.Linear(own.width * (own.layers + 1), own.width)
        self.output = nn.Linear(own.width, len(LABELS))

    def forward(self, vectors, speakers):
        states = [torch.relu(self.input(torch.cat(list(vectors.values()), dim=1)))]
        for layer in self.layers:
            states.append(layer(states[-1], speakers))
        return self.output(torch.relu(self.hidden(torch.cat(states, dim=1))))


def to_torch(params):
    """See ``comparison``."""
    result = {}
    for name in ("input", "hidden", "output"):
        result |= linear(name, params[name])
    for name, part in params["graph"].items():
        kind, _, index = name.partition("_")
        place = f"layers.{index}.{kind}"
        if kind == "score":
            result[place] = part
        elif kind in ("same", "other"):
            result[f"{place}.weight"] = part.T
        else:
            result |= cell(place, part)
    return result
