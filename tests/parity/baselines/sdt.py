"""SDT in plain PyTorch, a conversation at a time; its losses, too."""

import torch
from torch import nn

from tests.baselines import SIZES, Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import linear


class CrossTransformer(nn.Module):
    """One layer: attention from the queries' turns to the sources', feed-forward, layer norms after the residuals."""

    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x, source):
        attended = self.attention(x[None], source[None], source[None], need_weights=False)[0][0]
        x = self.norm1(x + attended)
        return self.norm2(x + self.linear2(torch.relu(self.linear1(x))))


def sinusoids(turns, width):
    rows = torch.zeros(turns, width)
    for i in range(turns):
        for k in range(width):
            angle = torch.tensor(i / 10000 ** (2 * (k // 2) / width))
            rows[i, k] = torch.cos(angle) if k % 2 else torch.sin(angle)
    return rows


class SDT(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/sdt.py``; what the students say is kept."""

    def __init__(self, case: Case):
        super().__init__()
        self.own = own = case.config().model.sdt
        self.names = case.names
        pairs = [f"{source}_to_{name}" for name in self.names for source in self.names]
        width = own.width
        self.project = nn.ModuleDict({name: nn.Linear(SIZES[name], width, bias=False) for name in self.names})
        self.speakers = nn.Embedding(own.speakers, width)
        self.cross = nn.ModuleDict({pair: CrossTransformer(width, own.heads) for pair in pairs})
        learned = pairs if own.gates == "learned" else []
        self.gates = nn.ModuleDict({pair: nn.Linear(width, width, bias=False) for pair in learned})
        self.joined = nn.ModuleDict({name: nn.Linear(len(self.names) * width, width) for name in self.names})
        self.gate = nn.Linear(width, width, bias=False)
        self.students = nn.ModuleDict({name: nn.Linear(width, len(LABELS)) for name in self.names})
        self.output = nn.Linear(width, len(LABELS))
        self.student_outputs = {name: [] for name in self.names}

    def auxiliary(self, outputs, weights):
        """What the students learn: the task's loss of theirs, here that of the comparison, and the divergence."""
        own, total = self.own, 0.0
        teacher = (outputs / own.temperature).softmax(dim=1)
        for found in self.student_outputs.values():
            student = torch.cat(found)
            shares = (student / own.temperature).softmax(dim=1)
            total = total + own.student_weight * (student**2 * weights).sum()
            total = total + own.distillation_weight * (teacher * (teacher.log() - shares.log())).sum()
        return total

    def forward(self, vectors, speakers):
        s = self.speakers(speakers.clamp(max=self.own.speakers - 1)) + sinusoids(len(speakers), self.own.width)
        z = {name: self.project[name](vectors[name]) + s for name in self.names}
        h = {}
        for name in self.names:
            gated = []
            for source in self.names:
                f = self.cross[f"{source}_to_{name}"](z[name], z[source])
                gate = self.gates[f"{source}_to_{name}"](f) if self.gates else f
                gated.append(torch.sigmoid(gate) * f)
            h[name] = self.joined[name](torch.cat(gated, dim=1))
        g = torch.stack([self.gate(h[name]) for name in self.names]).softmax(dim=0)
        for name in self.names:
            self.student_outputs[name].append(self.students[name](torch.relu(h[name])))
        return self.output(sum(share * h[name] for share, name in zip(g, self.names, strict=True)))


def to_torch(params):
    """See ``comparison``."""
    result = linear("gate", params["gate"]) | linear("output", params["output"])
    result["speakers.weight"] = params["speakers"]["embedding"]
    for name, part in params.items():
        if name in SIZES:
            result |= linear(f"project.{name}", part)
        elif name.startswith("student_"):
            result |= linear(f"students.{name.removeprefix('student_')}", part)
        elif name.startswith("joined_"):
            result |= linear(f"joined.{name.removeprefix('joined_')}", part)
        elif name.startswith("gate_"):
            result |= linear(f"gates.{name.removeprefix('gate_')}", part)
        elif "_to_" in name:
            place = f"cross.{name}"
            fused = [linear("", part["attention"][kind]) for kind in ("query", "key", "value")]
            for kind in ("weight", "bias"):
                arrays = [projection[f".{kind}"] for projection in fused]
                result[f"{place}.attention.in_proj_{kind}"] = torch.cat([torch.tensor(a) for a in arrays]).numpy()
            result |= linear(f"{place}.attention.out_proj", part["attention"]["out"])
            result |= linear(f"{place}.linear1", part["linear1"]) | linear(f"{place}.linear2", part["linear2"])
            for norm in ("norm1", "norm2"):
                result |= {f"{place}.{norm}.weight": part[norm]["scale"], f"{place}.{norm}.bias": part[norm]["bias"]}
    return result
