"""COSMIC in plain PyTorch, turn by turn."""

import torch
from torch import nn

from tests.baselines import SIZES, Case
from tests.factories import LABELS
from tests.parity.baselines.comparison import cell, linear


class Direction(nn.Module):
    """The emotion states of one conversation, in the order in which its turns are given."""

    def __init__(self, own, sense):
        super().__init__()
        self.own = own
        d_u, d_g, d_p, d_e = own.hidden, own.global_width, own.party_width, own.emotion_width
        self.g_cell = nn.GRUCell(d_u + 2 * d_p, d_g)
        self.r_cell = nn.GRUCell(d_u + sense + d_g, d_p)
        self.q_cell = nn.GRUCell(sense + d_g, d_p)
        self.i_cell = nn.GRUCell(sense + d_p, d_p)
        self.e_cell = nn.GRUCell(d_u + 3 * d_p, d_e)
        self.rl_cell = nn.GRUCell(d_u + sense + d_p, d_p) if own.active_listener else None
        self.ql_cell = nn.GRUCell(sense + d_p, d_p) if own.active_listener else None
        self.score = nn.Linear(d_u, d_g) if own.context == "general2" else nn.Linear(d_g, 1, bias=False)

    def attend(self, past, u):
        if not past:
            return torch.zeros(1, self.own.global_width)
        g = torch.cat(past)
        scores = torch.tanh(g @ self.score(u)[0]) if self.own.context == "general2" else self.score(g)[:, 0]
        return (scores.softmax(dim=0) @ g)[None]

    def forward(self, x, sense, speakers):
        own = self.own
        g, e = torch.zeros(1, own.global_width), torch.zeros(1, own.emotion_width)
        q, r, i = ([torch.zeros(1, own.party_width) for _ in range(own.parties)] for _ in range(3))
        past, emotions = [], []
        for u, known, s in zip(x.split(1), sense.split(1), speakers.tolist(), strict=True):
            intent, effect, reaction, effect_others, reaction_others = known.chunk(5, dim=1)
            s = min(s, own.parties - 1)
            g = self.g_cell(torch.cat([u, q[s], r[s]], dim=1), g)
            c = self.attend(past[-own.window :], u)
            r_s = self.r_cell(torch.cat([u, reaction, c], dim=1), r[s])
            q_s = self.q_cell(torch.cat([effect, c], dim=1), q[s])
            i[s] = self.i_cell(torch.cat([intent, q_s], dim=1), i[s])
            if own.active_listener:
                r = [self.rl_cell(torch.cat([u, reaction_others, r_s], dim=1), r_p) for r_p in r]
                q = [self.ql_cell(torch.cat([effect_others, q_s], dim=1), q_p) for q_p in q]
            r[s], q[s] = r_s, q_s
            e = self.e_cell(torch.cat([u, q_s, r_s, i[s]], dim=1), e)
            past.append(g)
            emotions.append(e)
        return torch.cat(emotions)


class COSMIC(nn.Module):
    """The equations of ``dtrm_jax/models/baselines/cosmic.py``."""

    def __init__(self, case: Case):
        super().__init__()
        self.own = own = case.config().model.cosmic
        ways = 2 if own.bidirectional else 1
        wide = own.emotion_width * ways
        self.utterance = nn.Linear(case.inputs, own.hidden)
        sense = SIZES["commonsense"] // 5 if own.commonsense else 0
        self.directions = nn.ModuleList([Direction(own, sense) for _ in range(ways)])
        self.query = nn.Linear(wide, wide) if own.attention == "general2" else None
        self.hidden = nn.Linear(wide, own.hidden)
        self.output = nn.Linear(own.hidden, len(LABELS))

    def forward(self, vectors, speakers):
        sense = vectors["commonsense"] if self.own.commonsense else torch.zeros(len(speakers), 0)
        x = self.utterance(torch.cat([x for name, x in vectors.items() if name != "commonsense"], dim=1))
        e = self.directions[0](x, sense, speakers)
        if self.own.bidirectional:
            from_end = self.directions[1](x.flip(0), sense.flip(0), speakers.flip(0))
            e = torch.cat([e, from_end.flip(0)], dim=1)
        if self.query is not None:
            e = torch.stack([torch.tanh(e @ self.query(e_t)).softmax(dim=0) @ e for e_t in e])
        return self.output(torch.relu(self.hidden(e)))


CELLS = {
    "global": "g_cell",
    "external": "r_cell",
    "internal": "q_cell",
    "intent": "i_cell",
    "emotion": "e_cell",
    "external_listener": "rl_cell",
    "internal_listener": "ql_cell",
}


def to_torch(params):
    """See ``comparison``."""
    result = {}
    for name in ("utterance", "hidden", "output"):
        result |= linear(name, params[name])
    if "attention" in params:
        result |= linear("query", params["attention"]["query"])
    for index, way in enumerate(("forward", "backward")):
        for name, ours in params.get(way, {}).items():
            place = f"directions.{index}"
            if name in CELLS:
                result |= cell(f"{place}.{CELLS[name]}", ours)
            elif name == "query":
                result |= linear(f"{place}.score", ours)
            else:
                result[f"{place}.score.weight"] = ours[None]
    return result
