"""The recurrent baselines in PyTorch, with conversations padded to a batch's longest, and nothing computed needlessly.

One step of a loop over turns computes the same turn of every conversation. The speaker's state alone is computed, not
that of every party, which is less work than in the authors' code; ``plain_peer.py`` does it their way.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from benchmarks.graph_peer import DialogueGCN, Matching
from dtrm_jax.baseline_settings import CLSTMConfig, DialogueRNNConfig
from dtrm_jax.data.examples import Example
from dtrm_jax.training.setup import Experiment


class Direction(nn.Module):
    """The emotion states of DialogueRNN, from the first turn on."""

    def __init__(self, inputs: int, own: DialogueRNNConfig):
        super().__init__()
        self.own, self.inputs = own, inputs
        self.global_cell = nn.GRUCell(inputs + own.party_width, own.global_width)
        self.party_cell = nn.GRUCell(inputs + own.global_width, own.party_width)
        self.emotion_cell = nn.GRUCell(own.party_width, own.emotion_width)
        self.query = nn.Linear(inputs, own.global_width, bias=False)
        self.dropout = nn.Dropout(own.recurrent_dropout)

    def forward(self, u: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Maps ``[L, conversations, inputs]`` to states."""
        turns, conversations, _ = u.shape
        rows = torch.arange(conversations)
        g = u.new_zeros(conversations, self.own.global_width)
        e = u.new_zeros(conversations, self.own.emotion_width)
        parties = u.new_zeros(conversations, self.own.parties, self.own.party_width)
        past, emotions = [], []
        for t in range(turns):
            own = parties[rows, speaker[t]]
            g = self.dropout(self.global_cell(torch.cat([u[t], own], dim=1), g))
            if past:
                memory = torch.stack(past)
                alpha = torch.einsum("tcd,cd->tc", memory, self.query(u[t])).softmax(dim=0)
                context = torch.einsum("tc,tcd->cd", alpha, memory)
            else:
                context = torch.zeros_like(g)
            spoke = self.dropout(self.party_cell(torch.cat([u[t], context], dim=1), own))
            parties = parties.index_put((rows, speaker[t]), spoke)
            e = self.dropout(self.emotion_cell(spoke, e))
            past.append(g)
            emotions.append(e)
        return torch.stack(emotions)


class DialogueRNN(Matching):
    """BiDialogueRNN with general attention, and matching attention above."""

    Direction = Direction

    def __init__(self, inputs: int, own: DialogueRNNConfig, outputs: int):
        super().__init__()
        wide = 2 * own.emotion_width
        self.directions = nn.ModuleList([self.Direction(inputs, own) for _ in range(2)])
        self.query, self.hidden = nn.Linear(wide, wide), nn.Linear(wide, 2 * own.hidden)
        self.output = nn.Linear(2 * own.hidden, outputs)
        self.above, self.dropout = nn.Dropout(own.state_dropout), nn.Dropout(own.dropout)

    def forward(self, u: torch.Tensor, speaker: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Maps ``[L, conversations, inputs]`` to outputs."""
        forward = self.directions[0](u, speaker)
        backward = self.directions[1](self.turned_round(u, turns), self.turned_round(speaker, turns))
        e = self.above(torch.cat([forward, self.turned_round(backward, turns)], dim=2)).transpose(0, 1)
        attended = self.attended(e, torch.arange(len(u)) < turns[:, None])
        return self.output(self.dropout(torch.relu(self.hidden(attended)))).transpose(0, 1)

    @staticmethod
    def turned_round(sequence: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Flips the turns of each conversation of ``[L, conversations, ...]``."""
        length = len(sequence)
        return sequence[(turns - 1 - torch.arange(length)[:, None]) % length, torch.arange(len(turns))]


class CLSTM(nn.Module):
    """bc-LSTM, with PyTorch's own loop over packed sequences."""

    def __init__(self, inputs: int, own: CLSTMConfig, outputs: int):
        super().__init__()
        self.lstm = nn.LSTM(inputs, own.width, own.layers, bidirectional=True, dropout=own.dropout)
        self.hidden, self.output = nn.Linear(2 * own.width, own.hidden), nn.Linear(own.hidden, outputs)
        self.dropout = nn.Dropout(own.dropout)

    def forward(self, u: torch.Tensor, speaker: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Maps ``[L, conversations, inputs]`` to outputs."""
        packed = nn.utils.rnn.pack_padded_sequence(u, turns, enforce_sorted=False)
        h, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0])
        return self.output(self.dropout(torch.relu(self.hidden(h))))


LEAN = {"c_lstm": CLSTM, "dialogue_rnn": DialogueRNN, "dialogue_gcn": DialogueGCN}


class RecurrentPeer:
    """A model in PyTorch that takes the same steps as ours.

    Args:
        experiment: What ours trains.
        model: Of ``LEAN``, or a class that takes the same arguments.
    """

    def __init__(self, experiment: Experiment, model: type[nn.Module]):
        config = experiment.config
        torch.manual_seed(config.train.seed)
        inputs = sum(size for _, size in experiment.manifest.shape.features)
        own = getattr(config.model, config.model.architecture)
        if hasattr(own, "parties"):  # no more than the corpus has, whose states would be computed for nothing
            speakers = 1 + max(int(one.speakers.max()) for one in experiment.train)
            own = dataclasses.replace(own, parties=min(own.parties, speakers))
        self.model = model(inputs, own, len(experiment.manifest.labels))
        own = config.optimizer
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), own.learning_rate, (own.b1, own.b2), own.eps, own.weight_decay
        )

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, conversations: Sequence[Example]) -> float:
        """Takes one optimizer step over whole conversations; returns the mean loss."""
        u = self._padded([np.concatenate(list(one.features.values()), axis=1) for one in conversations], 0.0)
        speaker = self._padded([one.speakers for one in conversations], 0)
        label = self._padded([one.labels for one in conversations], -1)
        turns = torch.tensor([len(one.labels) for one in conversations])
        logits = self.model(u, speaker.long(), turns)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten().long(), ignore_index=-1)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @staticmethod
    def _padded(arrays: Sequence[np.ndarray], fill: float) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(array) for array in arrays], padding_value=fill)
