"""DialogueGCN in PyTorch: conversations padded for the LSTM, the graph as a list of edges.

The graph is computed as ``torch_geometric`` does, which its authors use: for every relation, the vectors of all turns
are mapped, gathered along the edges of that relation and summed up where they end. The list of edges is made by
arithmetic on whole arrays, where the authors' code makes it in loops, as ``plain_peer.py`` does.
"""

import torch
from torch import nn

from dtrm_jax.baseline_settings import DialogueGCNConfig


class Matching(nn.Module):
    """A model whose turns attend to all of their conversation, by its part ``query``."""

    def attended(self, m: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Maps ``[conversations, L, width]`` to what every turn attends to."""
        scores = self.query(m) @ m.transpose(1, 2)
        return scores.masked_fill(~there[:, None], -torch.inf).softmax(dim=2) @ m


class DialogueGCN(Matching):
    """The equations of ``dtrm_jax/models/baselines/dialogue_gcn.py``, with as many parameters."""

    def __init__(self, inputs: int, own: DialogueGCNConfig, outputs: int):
        super().__init__()
        self.own = own
        recurrence = {"lstm": nn.LSTM, "gru": nn.GRU}[own.recurrence]
        dropout = own.dropout if own.context_layers > 1 else 0.0
        self.context = recurrence(inputs, own.width, own.context_layers, bidirectional=True, dropout=dropout)
        wide, hidden, relations = 2 * own.width, own.hidden, 2 * own.speakers**2
        self.edges = nn.Linear(wide, wide, bias=False)
        self.bases = nn.Parameter(torch.randn(own.bases, wide, hidden) * wide**-0.5)
        self.shares = nn.Parameter(torch.randn(relations, own.bases) * own.bases**-0.5)
        self.w_0, self.w_1, self.w_2 = (nn.Linear(size, hidden, bias=False) for size in (wide, hidden, hidden))
        self.query = nn.Linear(wide + hidden, wide + hidden) if own.nodal_attention else None
        self.hidden, self.output = nn.Linear(wide + hidden, hidden), nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(own.dropout)

    def forward(self, u: torch.Tensor, speaker: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Maps ``[L, conversations, inputs]`` to outputs."""
        packed = nn.utils.rnn.pack_padded_sequence(u, turns, enforce_sorted=False)
        padded = nn.utils.rnn.pad_packed_sequence(self.context(packed)[0])[0].transpose(0, 1)
        there = torch.arange(padded.shape[1]) < turns[:, None]
        g, speaker = padded[there], speaker.transpose(0, 1)[there].clamp(max=self.own.speakers - 1)
        to, of = self.edges_of(turns)
        scores = (self.edges(g)[to] * g[of]).sum(dim=1)
        weights = (scores - scores.max()).exp()
        weights = weights / g.new_zeros(len(g)).index_add(0, to, weights)[to]
        itself = to == of
        h1 = weights[itself][:, None] * self.w_0(g)
        to, of, weights = to[~itself], of[~itself], weights[~itself]
        relation = self.relations_of(speaker, to, of)
        maps = torch.einsum("rb,bio->rio", self.shares, self.bases)
        for number, w_r in enumerate(maps):
            own = relation == number
            count = g.new_zeros(len(g)).index_add(0, to[own], g.new_ones(int(own.sum())))
            messages = (g @ w_r)[of[own]] * (weights[own] / count[to[own]])[:, None]
            h1 = h1.index_add(0, to[own], messages)
        h1 = torch.relu(h1)
        h2 = torch.relu(self.w_1(torch.zeros_like(h1).index_add(0, to, h1[of])) + self.w_2(h1))
        m = padded.new_zeros(*padded.shape[:2], self.hidden.in_features)
        m[there] = torch.cat([g, h2], dim=1)
        if self.query is not None:
            m = self.attended(m, there)
        return self.output(self.dropout(torch.relu(self.hidden(m)))).transpose(0, 1)

    def edges_of(self, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns where edges end and where they begin, of turns numbered through all conversations."""
        place = torch.cat([torch.arange(int(count)) for count in turns])
        length = torch.repeat_interleave(turns, turns)
        away = torch.arange(-self.own.past, self.own.future + 1)
        other = place[:, None] + away
        to, column = torch.nonzero((other >= 0) & (other < length[:, None]), as_tuple=True)
        return to, to + away[column]

    def relations_of(self, speaker: torch.Tensor, to: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        """Returns the number of every edge's relation."""
        return (speaker[to] * self.own.speakers + speaker[of]) * 2 + (of > to)
