"""Conversations as the packer takes them: token sequences, labels or values, and standardised features."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, LabelSpace, ValueSpace
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.tokenize import TokenSequence, tokenize
from dtrm_jax.errors import InputError
from dtrm_jax.tasks import task_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A conversation as the packer takes it.

    Attributes:
        sequences: One per turn; empty if no text is encoded.
        context_segment: The segment id of context tokens: 1, or 0 if segment embeddings are not to distinguish the
            context from the utterance, whose id is 0.
        speakers: int32 ``[L]``, numbered in the order in which they first appear.
        labels: int32 ``[L]``; -1 where a turn has no class.
        values: float32 ``[L, V]``; NaN where a turn has no value.
        features: Modality -> float32 ``[L, M]``, standardised; a row of NaN where a turn lacks it.
    """

    sequences: tuple[TokenSequence, ...]
    context_segment: int
    speakers: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    features: dict[str, np.ndarray]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each turn's sequence; zeros if no text is encoded."""
        return [len(sequence) for sequence in self.sequences] or [0] * len(self.labels)

    @property
    def own_count(self) -> int:
        """Tokens of the utterances themselves, without their contexts, over all turns."""
        return sum(sequence.first_segment for sequence in self.sequences)


def make_examples(
    conversations: Sequence[Conversation],
    labels: LabelSpace | ValueSpace,
    tokenizer: EncoderTokenizer | None,
    normalization: Normalization,
    config: Config,
) -> list[Example]:
    """Prepares a split.

    Args:
        conversations: The split.
        labels: Its label space.
        tokenizer: The encoder's. If None, the model reads no text.
        normalization: Statistics of the features that the model takes.
        config: Window, limits and Table 3's switches.

    Raises:
        InputError: A conversation has features that do not fit, or more speakers than the model admits.
    """
    if tokenizer is None:
        sequences = [()] * len(conversations)
    else:
        sequences = tokenize(conversations, tokenizer, config.tokens)
    return [
        _example(conversation, own, labels, normalization, config)
        for conversation, own in zip(conversations, sequences, strict=True)
    ]


def _example(
    conversation: Conversation,
    sequences: tuple[TokenSequence, ...],
    labels: LabelSpace | ValueSpace,
    normalization: Normalization,
    config: Config,
) -> Example:
    targets = task_of(labels).targets(conversation)
    speakers = conversation.speaker_indices()
    check_speakers(f"conversation {conversation.id}", max(speakers, default=-1) + 1, config)
    return Example(
        sequences=sequences,
        context_segment=int(config.tokens.segments),
        speakers=np.array(speakers, np.int32),
        labels=targets.labels,
        values=targets.values,
        features=normalization.apply(conversation),
    )


def check_speakers(where: str, speakers: int, config: Config) -> None:
    """Raises InputError if a conversation has more speakers than the model admits.

    Args:
        where: Names the conversation.
        speakers: How many it has.
        config: Of the model.
    """
    most = config.model.most_speakers
    if most and speakers > most:
        setting = f"config.model.{config.model.architecture}.more_speakers=refuse"
        raise InputError(f"{where}: expected at most {most} speakers ({setting}), found {speakers}")
