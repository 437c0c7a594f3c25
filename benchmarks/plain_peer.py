"""DialogueRNN and DialogueGCN in plain PyTorch, put together as published implementations of them are.

The models are those of ``recurrent_peer.py`` and ``graph_peer.py``, with the same parameters and equal outputs, and
batches are padded as there. What those two have made leaner is done here as one writes it down first, and as the
models' published code goes about it:

- in every turn, the state of every party is computed, and that of who speaks is kept;
- a history is joined anew with every turn;
- attention over a conversation is taken turn by turn, over all that the batch is padded to;
- conversations are turned round one by one;
- the edges of a graph and their relations are made by a loop over conversations, turns and their neighbours.
"""

import torch
from torch import nn

from benchmarks.graph_peer import DialogueGCN, Matching
from benchmarks.recurrent_peer import DialogueRNN, Direction


class TurnByTurn(Matching):
    """The same attention, of one turn after the other."""

    def attended(self, m: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Maps ``[conversations, L, width]`` to what every turn attends to."""
        rows = []
        for turn in m.unbind(dim=1):
            scores = torch.bmm(self.query(turn)[:, None], m.transpose(1, 2)).masked_fill(~there[:, None], -torch.inf)
            rows.append(torch.bmm(scores.softmax(dim=2), m))
        return torch.cat(rows, dim=1)


class PlainDirection(Direction):
    """The emotion states of DialogueRNN, from those of all parties."""

    def forward(self, u: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        """Maps ``[L, conversations, inputs]`` to states."""
        turns, conversations, _ = u.shape
        speaks = nn.functional.one_hot(speaker, self.own.parties).to(u.dtype)
        e = u.new_zeros(conversations, self.own.emotion_width)
        parties = u.new_zeros(conversations, self.own.parties, self.own.party_width)
        past = u.new_zeros(0, conversations, self.own.global_width)
        emotions = u.new_zeros(0, conversations, self.own.emotion_width)
        for t in range(turns):
            before = past[-1] if t else u.new_zeros(conversations, self.own.global_width)
            g = self.dropout(self.global_cell(torch.cat([u[t], self._of_speaker(parties, speaker[t])], dim=1), before))
            read = torch.cat([u[t], self._context(past, u[t])], dim=1)
            read = read[:, None].expand(-1, self.own.parties, -1).flatten(0, 1)
            new = self.dropout(self.party_cell(read, parties.flatten(0, 1))).view_as(parties)
            mask = speaks[t][:, :, None]
            parties = parties * (1 - mask) + new * mask
            e = self.dropout(self.emotion_cell(self._of_speaker(parties, speaker[t]), e))
            past, emotions = torch.cat([past, g[None]]), torch.cat([emotions, e[None]])
        return emotions

    def _context(self, past: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        if not len(past):
            return past.new_zeros(past.shape[1:])
        scores = torch.bmm(self.query(u)[:, None], past.permute(1, 2, 0))
        return torch.bmm(scores.softmax(dim=2), past.transpose(0, 1))[:, 0]

    @staticmethod
    def _of_speaker(parties: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        return torch.stack([states[number] for states, number in zip(parties, speaker, strict=True)])


class PlainDialogueRNN(TurnByTurn, DialogueRNN):
    """BiDialogueRNN with general attention, and matching attention above, turn by turn."""

    Direction = PlainDirection

    @staticmethod
    def turned_round(sequence: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Flips the turns of each conversation of ``[L, conversations, ...]``."""
        flipped = [sequence[:count, number].flip(0) for number, count in enumerate(turns.tolist())]
        return nn.utils.rnn.pad_sequence(flipped)


class PlainDialogueGCN(TurnByTurn, DialogueGCN):
    """DialogueGCN with edges made by loops, and nodal attention turn by turn."""

    def edges_of(self, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns where edges end and where they begin, of turns numbered through all conversations."""
        pairs, first = [], 0
        for count in turns.tolist():
            for turn in range(count):
                for other in range(max(0, turn - self.own.past), min(count, turn + self.own.future + 1)):
                    pairs.append((first + turn, first + other))
            first += count
        to, of = torch.tensor(pairs).T
        return to, of

    def relations_of(self, speaker: torch.Tensor, to: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        """Returns the number of every edge's relation."""
        numbers: dict[tuple[int, int, bool], int] = {}
        for one in range(self.own.speakers):
            for other in range(self.own.speakers):
                for later in (False, True):
                    numbers[one, other, later] = len(numbers)
        edges = zip(to.tolist(), of.tolist(), strict=True)
        return torch.tensor([numbers[int(speaker[i]), int(speaker[j]), j > i] for i, j in edges])


PLAIN = {"dialogue_rnn": PlainDialogueRNN, "dialogue_gcn": PlainDialogueGCN}
