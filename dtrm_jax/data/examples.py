"""Conversations as the packer takes them: token sequences, labels or values, and standardised features."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.conversation import MODALITIES, Conversation, LabelSpace, ValueSpace
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import Example, choose_shape
from dtrm_jax.data.tokenize import tokenize


def reads_text(config: ModelConfig) -> bool:
    """Whether the model encodes the utterances' text."""
    return "u" in config.modalities and config.utterance == "encoder"


def feature_modalities(config: ModelConfig) -> tuple[str, ...]:
    """Returns the modalities that the model takes as features, in their fixed order."""
    names = [MODALITIES[letter] for letter in config.modalities]
    return tuple(name for name in names if name != "utterance" or config.utterance == "features")


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
        tokenizer: The encoder's; None if the model reads no text.
        normalization: Statistics of the features that the model takes.
        config: Window, limits and Table 3's switches.
    """
    if tokenizer is None:
        sequences = [()] * len(conversations)
    else:
        sequences = tokenize(conversations, tokenizer, config.tokens)
    return [
        Example(own, *_targets(conversation, labels), normalization.apply(conversation))
        for conversation, own in zip(conversations, sequences, strict=True)
    ]


def pack_shape(
    examples: Sequence[Example], labels: LabelSpace | ValueSpace, normalization: Normalization, config: Config
) -> PackShape:
    """Chooses the shape of packs that ``examples`` go into; see ``choose_shape``."""
    shape = choose_shape(
        [example.lengths for example in examples], config.packing, multiple=config.model.encoder.chunks
    )
    values = len(labels) if isinstance(labels, ValueSpace) else 0
    return dataclasses.replace(shape, values=values, features=normalization.sizes)


def _targets(conversation: Conversation, labels: LabelSpace | ValueSpace) -> tuple[np.ndarray, np.ndarray]:
    """Returns int32 ``[L]`` classes, -1 where there is none, and float32 ``[L, V]`` values, NaN where there is none."""
    turns = conversation.turns
    if isinstance(labels, ValueSpace):
        values = np.array([[np.nan if value is None else value for value in turn.values] for turn in turns], np.float32)
        return np.full(len(turns), -1, np.int32), values
    classes = [-1 if turn.label is None else labels.index(turn.label) for turn in turns]
    return np.asarray(classes, np.int32), np.zeros((len(turns), 0), np.float32)
