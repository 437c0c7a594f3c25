"""The same model and training step in plain PyTorch and transformers, the peer of the throughput benchmark.

DialogueTRM-U as one would write it with today's stock parts, eager:

- ``transformers.BertModel`` (scaled dot-product attention) over the token sequences of eq. 1, one row per sequence;
- ``torch.nn.TransformerEncoder`` over the turns, one row per conversation, under eq. 3's causal window mask;
- ``W tanh(W o)``, cross-entropy, ``torch.optim.AdamW``.

A batch is a list of whole conversations. The form ``padded`` pads all its token sequences to the longest, as a data
collator does; ``sorted`` sorts them by length and runs the encoder over micro-batches, each padded to its own longest.
``padded-bfloat16`` and ``sorted-bfloat16`` are the same under ``torch.autocast``, as every form is where the config's
``model.dtype`` is bfloat16.

Needs torch and transformers, which the project itself does not.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import torch
import transformers
from torch import nn

from benchmarks.contest import TORCH_FORMS
from dtrm_jax.config import Config, to_dict
from dtrm_jax.conversation import Conversation, LabelSpace, indi_context
from dtrm_jax.errors import InputError
from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.models.encoders.hub import locate
from dtrm_jax.settings import flat

_UNLABELLED = -100  # what torch's cross-entropy ignores
# The settings of the model and its training that the peer follows. It keeps the learning rates constant.
_FOLLOWED = {
    "tokens.window",
    "tokens.max_length",
    "model.encoder.pretrained",
    "model.encoder.pooling",
    "model.encoder.dropout",
    "model.encoder.attention_dropout",
    "model.intra_modal.layers",
    "model.intra_modal.heads",
    "model.intra_modal.feed_forward",
    "model.intra_modal.dropout",
    "model.dropout",
    "model.dtype",
    "optimizer.encoder_learning_rate",
    "optimizer.learning_rate",
    "optimizer.b1",
    "optimizer.b2",
    "optimizer.eps",
    "optimizer.weight_decay",
    "optimizer.gradient_clip",
    "optimizer.warmup_steps",
    # Sizes of an encoder that is not pretrained.
    "model.encoder.hidden_size",
    "model.encoder.layers",
    "model.encoder.heads",
    "model.encoder.intermediate_size",
}
# Those it does not, and the only value of each that it stands for.
_FIXED = {
    "tokens.future": 0,
    "tokens.speaker_names": False,
    "tokens.indi_context": True,
    "tokens.segments": True,
    "tokens.separator": True,
    "model.architecture": "dialogue_trm",
    "model.remat": False,
    "model.modalities": "u",
    "model.utterance": "encoder",
    "model.context.utterance": "dependent",
    "model.intra_modal.turn_distance": "none",
    "optimizer.decay_biases_and_norms": True,
    "train.class_balance": 0.0,
    "train.label_smoothing": 0.0,
}
# Those that do nothing where text is all there is and the encoder is a BERT, or change no result; the type of products
# is the form's.
_IDLE = {
    "model.encoder.products",
    "model.encoder.chunks",
    "model.encoder.segment_embedding",
    "model.context.acoustic",
    "model.context.visual",
    "model.fusion.kind",
    "model.fusion.layers",
    "model.fusion.heads",
    "model.fusion.feed_forward",
    "model.fusion.dropout",
    "model.fusion.sketch",
    "model.fusion.seed",
}


class TokenSequence(NamedTuple):
    """The token sequence of eq. 1 of one turn."""

    ids: list[int]
    segments: list[int]


class PeerModel(nn.Module):
    """DialogueTRM-U from stock parts.

    Args:
        config: The experiment; ``model.encoder.pretrained`` names the BERT.
        classes: Number of emotions.
    """

    def __init__(self, config: Config, classes: int):
        super().__init__()
        encoder, intra_modal, rate = config.model.encoder, config.model.intra_modal, config.model.dropout
        self.bert = transformers.BertModel.from_pretrained(
            locate(encoder.pretrained),
            add_pooling_layer=False,
            attn_implementation="sdpa",
            hidden_dropout_prob=encoder.dropout,
            attention_probs_dropout_prob=encoder.attention_dropout,
        )
        width = self.bert.config.hidden_size
        layer = nn.TransformerEncoderLayer(
            width, intra_modal.heads, intra_modal.feed_forward, intra_modal.dropout, batch_first=True
        )
        self.intra_modal = nn.TransformerEncoder(layer, intra_modal.layers, enable_nested_tensor=False)
        self.discriminator = nn.Sequential(
            nn.Dropout(rate), nn.Linear(width, width), nn.Tanh(), nn.Dropout(rate), nn.Linear(width, classes)
        )
        self.window, self.pooling = config.tokens.window, encoder.pooling

    def forward(
        self, micro_batches: Iterable[dict[str, torch.Tensor]], order: torch.Tensor, turns: list[int]
    ) -> torch.Tensor:
        """Returns the logits of every turn, ``[sum of turns, classes]``.

        Args:
            micro_batches: Padded inputs of BERT, together one row per turn.
            order: ``order[i]`` is the turn, counted through the batch, of row ``i``.
            turns: Number of turns of every conversation.
        """
        states = torch.cat([self._encode(rows) for rows in micro_batches])
        states = torch.empty_like(states).index_copy(0, order, states)
        padded = nn.utils.rnn.pad_sequence(states.split(turns), batch_first=True)
        # Padding comes last and the mask is causal, so that no turn sees any.
        represented = self.intra_modal(padded, mask=self._hidden(padded.shape[1], padded.device))
        used = torch.arange(padded.shape[1]) < torch.tensor(turns)[:, None]
        return self.discriminator(represented[used.to(padded.device)])

    def _encode(self, rows: dict[str, torch.Tensor]) -> torch.Tensor:
        """Returns the state at [CLS] of each row, or the mean state of its segment 0."""
        states = self.bert(**rows).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]
        own = (rows["attention_mask"] * (rows["token_type_ids"] == 0))[:, :, None].to(states.dtype)
        return (states * own).sum(1) / own.sum(1)

    def _hidden(self, turns: int, device: torch.device) -> torch.Tensor:
        """Eq. 3 as torch wants it: True where a turn must not look."""
        turn = torch.arange(turns, device=device)
        distance = turn[:, None] - turn[None]
        return (distance < 0) | (distance > self.window)


class TorchPeer:
    """Trains ``PeerModel``, at constant learning rates.

    Args:
        config: The experiment.
        labels: The emotions.
        form: One of ``contest.TORCH_FORMS``.
        micro_batch_tokens: Largest padded size of a micro-batch of the ``sorted`` form, in tokens.
        device: ``cuda`` or ``cpu``; if None, what JAX computes on, so that both have the same.

    Raises:
        InputError: The config asks for something that the peer does not implement.
    """

    def __init__(
        self,
        config: Config,
        labels: LabelSpace,
        form: str = "padded",
        *,
        micro_batch_tokens: int = 2048,
        device: str | None = None,
    ):
        if form not in TORCH_FORMS:
            raise ValueError(f"form: expected one of {', '.join(TORCH_FORMS)}, found {form!r}")
        _check_supported(config)
        torch.manual_seed(config.train.seed)
        self.device = torch.device(device or ("cuda" if jax.default_backend() == "gpu" else "cpu"))
        self.config, self.labels, self.micro_batch_tokens = config, labels, micro_batch_tokens
        self.sorted = form.startswith("sorted")
        self.half = form.endswith("-bfloat16") or config.model.dtype == "bfloat16"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(locate(config.model.encoder.pretrained))
        self.model = PeerModel(config, len(labels)).to(self.device)
        self.optimizer = self._adamw()
        self._prepared: dict[Conversation, list[TokenSequence]] = {}

    def step(self, conversations: Sequence[Conversation]) -> float:
        """Runs forward, backward and one update; returns the mean cross-entropy of the labelled turns.

        Token sequences are kept, so that a conversation is tokenized the first time only.
        """
        self.model.train()
        loss = self.loss(conversations)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.optimizer.gradient_clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.gradient_clip)
        self.optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def predict(self, conversations: Sequence[Conversation]) -> torch.Tensor:
        """Returns the probabilities of every turn, ``[turns of all conversations, classes]``."""
        self.model.eval()
        return self.logits(conversations).softmax(-1).cpu()

    @torch.inference_mode()
    def predict_last(self, sequences: Sequence[TokenSequence]) -> torch.Tensor:
        """Returns the probabilities of the last of consecutive turns, from the sequences of all, ``[classes]``."""
        self.model.eval()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            order = torch.arange(len(sequences), device=self.device)
            return self.model([self._pad(sequences)], order, [len(sequences)])[-1].float().softmax(-1).cpu()

    def loss(self, conversations: Sequence[Conversation]) -> torch.Tensor:
        """Returns the mean cross-entropy of the labelled turns, ready to differentiate."""
        labels = [
            _UNLABELLED if turn.label is None else self.labels.index(turn.label)
            for conversation in conversations
            for turn in conversation.turns
        ]
        target = torch.tensor(labels, device=self.device)
        return nn.functional.cross_entropy(self.logits(conversations), target, ignore_index=_UNLABELLED)

    def logits(self, conversations: Sequence[Conversation]) -> torch.Tensor:
        """Returns the float32 logits of every turn, ``[turns of all conversations, classes]``."""
        sequences = [sequence for conversation in conversations for sequence in self.sequences(conversation)]
        groups = self._micro_batches(sequences)
        order = torch.tensor([index for group in groups for index in group], device=self.device)
        rows = (self._pad([sequences[index] for index in group]) for group in groups)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            return self.model(rows, order, [len(conversation) for conversation in conversations]).float()

    def sequences(self, conversation: Conversation) -> list[TokenSequence]:
        """Returns the token sequence of every turn."""
        if conversation not in self._prepared:
            self._prepared[conversation] = self._tokenize(conversation)
        return self._prepared[conversation]

    def forget(self) -> None:
        """Forgets the token sequences that were kept."""
        self._prepared.clear()

    def _adamw(self) -> torch.optim.AdamW:
        settings = self.config.optimizer
        above = [*self.model.intra_modal.parameters(), *self.model.discriminator.parameters()]
        groups = [
            {"params": list(self.model.bert.parameters()), "lr": settings.encoder_learning_rate},
            {"params": above, "lr": settings.learning_rate},
        ]
        # Fused: the fastest form that torch offers.
        return torch.optim.AdamW(
            groups,
            betas=(settings.b1, settings.b2),
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def _tokenize(self, conversation: Conversation) -> list[TokenSequence]:
        texts = [turn.text for turn in conversation.turns]
        words = self.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        speakers = [turn.speaker for turn in conversation.turns]
        limit, window = self.config.tokens.max_length, self.config.tokens.window
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        sequences = []
        for turn, own in enumerate(words):
            first = [cls, *own[: limit - 2], sep]
            context = [token for earlier in indi_context(speakers, turn, window) for token in words[earlier]]
            room = max(0, limit - len(first) - 1)
            context = context[max(0, len(context) - room) :]  # the oldest context goes first
            second = [*context, sep] if context else []
            sequences.append(TokenSequence(first + second, [0] * len(first) + [1] * len(second)))
        return sequences

    def _micro_batches(self, sequences: Sequence[TokenSequence]) -> list[list[int]]:
        """Groups the sequences' indices into micro-batches."""
        if not self.sorted:
            return [list(range(len(sequences)))]
        groups: list[list[int]] = [[]]
        for index in sorted(range(len(sequences)), key=lambda index: len(sequences[index].ids)):
            # Lengths ascend: this sequence is the one its group is padded to.
            if groups[-1] and (len(groups[-1]) + 1) * len(sequences[index].ids) > self.micro_batch_tokens:
                groups.append([])
            groups[-1].append(index)
        return groups

    def _pad(self, sequences: Sequence[TokenSequence]) -> dict[str, torch.Tensor]:
        longest = max(len(sequence.ids) for sequence in sequences)

        def padded(rows: Iterable[list[int]], fill: int) -> torch.Tensor:
            return torch.tensor([row + [fill] * (longest - len(row)) for row in rows], device=self.device)

        return {
            "input_ids": padded((sequence.ids for sequence in sequences), self.tokenizer.pad_token_id),
            "token_type_ids": padded((sequence.segments for sequence in sequences), 0),
            "attention_mask": padded(([1] * len(sequence.ids) for sequence in sequences), 0),
        }


def _check_supported(config: Config) -> None:
    if not config.model.encoder.pretrained:
        raise InputError("config.model.encoder.pretrained: the PyTorch peer needs pretrained weights, found none")
    if config.model.intra_modal.layers < 1:
        raise InputError("config.model.intra_modal.layers: the PyTorch peer needs at least one layer, found 0")
    settings = flat(to_dict(config))
    for path, expected in _FIXED.items():
        if settings[path] != expected:
            raise InputError(f"config.{path}: the PyTorch peer implements {expected!r} only, found {settings[path]!r}")
    # A setting that is new since this file was written must not be passed over in silence.
    of_other_models = tuple(f"model.{name}." for name in ARCHITECTURES)
    for path in settings:
        if path.startswith(of_other_models) or not path.startswith(("tokens.", "model.", "optimizer.")):
            continue
        if path not in _FOLLOWED | _FIXED.keys() | _IDLE:
            raise InputError(f"config.{path}: the PyTorch peer does not know this setting")
