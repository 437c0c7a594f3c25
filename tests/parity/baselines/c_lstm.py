"""c-LSTM in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import SIZES, Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


class Direction(nn.Module):
    """An LSTM, or a GRU, over one conversation in one direction."""

    def __init__(self, inputs, width, kind):
        super().__init__()
        self.cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[kind](inputs, width)

    def forward(self, x, backward):
        zeros = torch.zeros(1, self.cell.hidden_size)
        state = (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros
        turns = range(len(x))
        states = {}
        for t in reversed(turns) if backward else turns:
            state = self.cell(x[t : t + 1], state)
            states[t] = (state[0] if isinstance(state, tuple) else state)[0]
        return torch.stack([states[t] for t in turns])


class Layer(nn.Module):
    def __init__(self, inputs, width, both, kind="lstm"):
        super().__init__()
        self.forwards = Direction(inputs, width, kind)
        self.backwards = Direction(inputs, width, kind) if both else None

    def forward(self, x):
        found = [self.forwards(x, False)] + ([] if self.backwards is None else [self.backwards(x, True)])
        return torch.cat(found, dim=1)


class CLSTM(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/c_lstm.py``."""

    def __init__(self, case: Case):
        super().__init__()
        own = case.config().model.c_lstm
        wide = own.width * (2 if own.bidirectional else 1)
        inputs = [SIZES[name] for name in case.names]
        self.modal = nn.ModuleDict()
        if own.hierarchical:
            self.modal = nn.ModuleDict({name: Layer(SIZES[name], own.width, own.bidirectional) for name in case.names})
            inputs = [wide] * len(case.names)
        sizes = [sum(inputs), *[wide] * (own.layers - 1)]
        self.layers = nn.ModuleList([Layer(size, own.width, own.bidirectional) for size in sizes])
        self.query = nn.Linear(wide, wide) if own.attention == "general2" else None
        self.hidden = nn.Linear(wide, own.hidden)
        self.output = nn.Linear(own.hidden, len(LABELS))

    def forward(self, vectors, speakers):
        if self.modal:
            vectors = {name: self.modal[name](x) for name, x in vectors.items()}
        h = torch.cat(list(vectors.values()), dim=1)
        for layer in self.layers:
            h = layer(h)
        if self.query is not None:
            attended = []
            for h_t in h:
                scores = torch.stack([torch.tanh(h_j @ self.query(h_t)) for h_j in h])
                attended.append(scores.softmax(dim=0) @ h)
            h = torch.stack(attended)
        return self.output(torch.relu(self.hidden(h)))


def to_torch(params):
    """See ``comparison``."""
    result = linear("hidden", params["hidden"]) | linear("output", params["output"])
    if "attention" in params:
        result |= linear("query", params["attention"]["query"])
    for name, part in params.items():
        kind, _, rest = name.partition("_")
        if "layer" not in (kind, rest):
            continue
        place = f"layers.{rest}" if kind == "layer" else f"modal.{kind}"
        for direction, ours in part.items():
            result |= cell(f"{place}.{direction}s.cell", ours["cell"])
    return result
