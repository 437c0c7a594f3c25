"""DialogueRNN in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


class Direction(nn.Module):
    """The emotion states of one conversation, in the order in which its turns are given."""

    def __init__(self, inputs, own):
        super().__init__()
        self.own = own
        d_g, d_p, d_e = own.global_width, own.party_width, own.emotion_width
        self.g_cell = nn.GRUCell(inputs + d_p, d_g)
        self.p_cell = nn.GRUCell(inputs + d_g, d_p)
        self.e_cell = nn.GRUCell(d_p, d_e)
        self.l_cell = nn.GRUCell(inputs + d_p, d_p) if own.active_listener else None
        self.score = nn.Linear(inputs, d_g, bias=False) if own.context == "general" else nn.Linear(d_g, 1, bias=False)

    def attend(self, past, u):
        g = torch.cat(past)
        scores = g @ self.score(u)[0] if self.own.context == "general" else self.score(g)[:, 0]
        return (scores.softmax(dim=0) @ g)[None]

    def forward(self, x, speakers):
        own = self.own
        g, e = torch.zeros(1, own.global_width), torch.zeros(1, own.emotion_width)
        parties = [torch.zeros(1, own.party_width) for _ in range(own.parties)]
        past, emotions = [], []
        for u, s in zip(x.split(1), speakers.tolist(), strict=True):
            s = min(s, own.parties - 1)
            g = self.g_cell(torch.cat([u, parties[s]], dim=1), g)
            seen = past[-own.window :]
            c = self.attend(seen, u) if seen else torch.zeros(1, own.global_width)
            spoke = self.p_cell(torch.cat([u, c], dim=1), parties[s])
            if self.l_cell is not None:
                parties = [self.l_cell(torch.cat([u, spoke], dim=1), q) for q in parties]
            parties[s] = spoke
            e = self.e_cell(spoke, e)
            past.append(g)
            emotions.append(e)
        return torch.cat(emotions)


class DialogueRNN(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/dialogue_rnn.py``."""

    def __init__(self, case: Case):
        super().__init__()
        self.own = own = case.config().model.dialogue_rnn
        ways = 2 if own.bidirectional else 1
        wide = own.emotion_width * ways
        self.directions = nn.ModuleList([Direction(case.inputs, own) for _ in range(ways)])
        self.query = nn.Linear(wide, wide) if own.attention == "general2" else None
        self.hidden = nn.Linear(wide, own.hidden * ways)
        self.output = nn.Linear(own.hidden * ways, len(LABELS))

    def forward(self, vectors, speakers):
        x = torch.cat(list(vectors.values()), dim=1)
        e = self.directions[0](x, speakers)
        if self.own.bidirectional:
            e = torch.cat([e, self.directions[1](x.flip(0), speakers.flip(0)).flip(0)], dim=1)
        if self.query is not None:
            e = torch.stack([(e @ self.query(e_t)).softmax(dim=0) @ e for e_t in e])
        hidden = self.hidden(e)
        return self.output(torch.tanh(hidden) if self.own.activation == "tanh" else torch.relu(hidden))


def to_torch(params):
    """See ``comparison``."""
    result = linear("hidden", params["hidden"]) | linear("output", params["output"])
    if "attention" in params:
        result |= linear("query", params["attention"]["query"])
    for index, way in enumerate(("forward", "backward")):
        if way not in params:
            continue
        ours, place = params[way], f"directions.{index}"
        for name in ("global", "party", "emotion", "listener"):
            if name in ours:
                result |= cell(f"{place}.{name[0]}_cell", ours[name])
        if "query" in ours:
            result |= linear(f"{place}.score", ours["query"])
        else:
            result[f"{place}.score.weight"] = ours["score"][None]
    return result
