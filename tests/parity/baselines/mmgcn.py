"""MMGCN in plain PyTorch: the matrices of a conversation's whole graph, modality after modality."""

import math

import torch
from torch import nn

from tests.baselines import SIZES, Case
from tests.factories import LABELS
from tests.parity.baselines.c_lstm import Layer
from tests.parity.baselines.comparison import cell, linear


class MMGCN(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/mmgcn.py``."""

    def __init__(self, case: Case):
        super().__init__()
        self.own = own = case.config().model.mmgcn
        wide = 2 * own.width
        node = wide + own.speaker_width
        sizes = [SIZES["utterance"], *[wide] * (own.context_layers - 1)] if "u" in case.modalities else []
        self.utterance = nn.ModuleList([Layer(size, own.width, True) for size in sizes])
        self.affine = nn.ModuleDict({name: nn.Linear(SIZES[name], wide) for name in case.names if name != "utterance"})
        self.speakers = nn.Embedding(own.speakers, own.speaker_width)
        self.input = nn.Linear(node, own.hidden)
        self.layers = nn.ModuleList([nn.Linear(own.hidden, own.hidden, bias=False) for _ in range(own.layers)])
        self.output = nn.Linear(len(case.names) * (node + own.hidden), len(LABELS))

    def graph(self, n, turns):
        """P, of nodes that come modality by modality."""
        a = torch.zeros(len(n), len(n))
        for i in range(len(n)):
            for j in range(len(n)):
                same_modality, same_turn = i // turns == j // turns, i % turns == j % turns
                if i == j or not (same_modality or same_turn):
                    continue
                cosine = n[i] @ n[j] / (n[i].norm() * n[j].norm())
                weight = 1 - torch.arccos(0.99999 * cosine) / math.pi
                a[i, j] = weight if same_modality else self.own.cross_modal * weight
        a = a + torch.eye(len(n))
        scale = torch.diag(a.sum(dim=1) ** -0.5)
        return scale @ a @ scale

    def forward(self, vectors, speakers):
        turns = len(speakers)
        s = self.speakers(speakers.clamp(max=self.own.speakers - 1))
        nodes = []
        for name, x in vectors.items():
            if name == "utterance":
                for layer in self.utterance:
                    x = layer(x)
            else:
                x = self.affine[name](x)
            nodes.append(torch.cat([x, s], dim=1))
        n = torch.cat(nodes)
        p = self.graph(n, turns)
        h = h_0 = torch.relu(self.input(n))
        for number, layer in enumerate(self.layers, start=1):
            beta = math.log(self.own.eta / number + 1)
            mixed = (1 - self.own.alpha) * p @ h + self.own.alpha * h_0
            h = torch.relu((1 - beta) * mixed + beta * layer(mixed))
        parts = [part for own in range(len(nodes)) for part in (nodes[own], h[own * turns : (own + 1) * turns])]
        return self.output(torch.relu(torch.cat(parts, dim=1)))


def to_torch(params):
    """See ``comparison``."""
    result = linear("input", params["input"]) | linear("output", params["output"])
    result["speakers.weight"] = params["speakers"]["embedding"]
    for name, part in params.items():
        kind, _, index = name.partition("_")
        if kind == "layer":
            result |= linear(f"layers.{int(index) - 1}", part)
        elif kind == "utterance":
            for direction, ours in part.items():
                result |= cell(f"utterance.{index}.{direction}s.cell", ours["cell"])
        elif kind in ("acoustic", "visual"):
            result |= linear(f"affine.{kind}", part)
    return result
