"""DialogueGCN in plain PyTorch, turn by turn and edge by edge."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.c_lstm import Layer
from tests.parity.baselines.comparison import cell, linear


class DialogueGCN(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/dialogue_gcn.py``."""

    def __init__(self, case: Case):
        super().__init__()
        self.own = own = case.config().model.dialogue_gcn
        wide = 2 * own.width
        sizes = [case.inputs, *[wide] * (own.context_layers - 1)]
        self.context = nn.ModuleList([Layer(size, own.width, True, own.recurrence) for size in sizes])
        self.edges = nn.Linear(wide, wide, bias=False)
        self.bases = nn.Parameter(torch.zeros(own.bases, wide, own.hidden))
        self.shares = nn.Parameter(torch.zeros(own.speakers, 2 * own.speakers, own.bases))
        self.w_0 = nn.Linear(wide, own.hidden, bias=False)
        self.w_1 = nn.Linear(own.hidden, own.hidden, bias=False)
        self.w_2 = nn.Linear(own.hidden, own.hidden, bias=False)
        self.query = nn.Linear(wide + own.hidden, wide + own.hidden) if own.nodal_attention else None
        self.hidden = nn.Linear(wide + own.hidden, own.hidden)
        self.output = nn.Linear(own.hidden, len(LABELS))

    def relation(self, i, j, speakers):
        """The place of the relation: the speaker of i, and the speaker and direction of j."""
        known = [min(int(speaker), self.own.speakers - 1) for speaker in speakers]
        return known[i], 2 * known[j] + (1 if j > i else 0)

    def first(self, g, speakers):
        rows = []
        for i in range(len(g)):
            reach = [j for j in range(len(g)) if i - self.own.past <= j <= i + self.own.future]
            scores = torch.stack([self.edges(g[i]) @ g[j] for j in reach])
            a = dict(zip(reach, scores.softmax(dim=0), strict=True))
            relations = {j: self.relation(i, j, speakers) for j in reach if j != i}
            total = a[i] * self.w_0(g[i])
            for j, relation in relations.items():
                count = list(relations.values()).count(relation)
                w_r = sum(self.shares[relation][b] * self.bases[b] for b in range(self.own.bases))
                total = total + a[j] / count * (g[j] @ w_r)
            rows.append(torch.relu(total))
        return torch.stack(rows)

    def second(self, h1):
        rows = []
        for i in range(len(h1)):
            reach = range(max(0, i - self.own.past), min(len(h1), i + self.own.future + 1))
            rows.append(torch.relu(sum((self.w_1(h1[j]) for j in reach if j != i), start=self.w_2(h1[i]))))
        return torch.stack(rows)

    def forward(self, vectors, speakers):
        g = torch.cat(list(vectors.values()), dim=1)
        for layer in self.context:
            g = layer(g)
        m = torch.cat([g, self.second(self.first(g, speakers))], dim=1)
        if self.query is not None:
            m = torch.stack([torch.stack([self.query(m_i) @ m_j for m_j in m]).softmax(dim=0) @ m for m_i in m])
        return self.output(torch.relu(self.hidden(m)))


def to_torch(params):
    """See ``comparison``."""
    result = linear("hidden", params["hidden"]) | linear("output", params["output"])
    result |= linear("edges", params["edges"]) | linear("w_0", params["relational"]["itself"])
    result |= linear("w_1", params["around"]) | linear("w_2", params["itself"])
    result |= {name: params["relational"][name] for name in ("bases", "shares")}
    if "attention" in params:
        result |= linear("query", params["attention"]["query"])
    for name, layer in params.items():
        kind, _, index = name.partition("_")
        if kind == "context":
            for direction, ours in layer.items():
                result |= cell(f"context.{index}.{direction}s.cell", ours["cell"])
    return result
