"""Token sequences of eq. 1: ``[CLS] x_i [SEP] indi-context, oldest first [SEP]``."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.config import TokensConfig
from dtrm_jax.conversation import Conversation, indi_context
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer, SpecialIds


@dataclasses.dataclass(frozen=True, slots=True)
class TokenSequence:
    """One turn's input to the encoder.

    Attributes:
        token_ids: int32 ``[length]``.
        first_segment: How many tokens, from the start, belong to segment 0: the utterance with the token before it and
            the first one after it. All others belong to segment 1, the context.
    """

    token_ids: np.ndarray
    first_segment: int

    def __len__(self) -> int:
        return len(self.token_ids)


def build_sequence(
    target: Sequence[int], context: Sequence[Sequence[int]], special: SpecialIds, config: TokensConfig
) -> TokenSequence:
    """Builds one sequence and fits it into ``config.max_length``.

    The oldest context tokens are dropped first; the target is cut, at its end, only when it alone does not fit. (Stock
    truncation strategies drop the newest context.) Without context, nothing but ``special.last`` follows the target.

    Args:
        target: The utterance's vocabulary ids, without special tokens.
        context: Each context utterance's ids, oldest first.
        special: Ids of the special tokens.
        config: Limits and Table 3's switches.
    """
    own = [special.first, *target[: config.max_length - 2]]
    between = list(special.between) if config.separator else []
    room = config.max_length - len(own) - len(between) - 1
    recent = [token for utterance in context for token in utterance]
    recent = recent[max(0, len(recent) - room) :] if room > 0 else []
    if not recent:
        return TokenSequence(np.asarray([*own, special.last], np.int32), first_segment=len(own) + 1)
    token_ids = np.asarray([*own, *between, *recent, special.last], np.int32)
    return TokenSequence(token_ids, first_segment=len(own) + len(between[:1]))


def tokenize(
    conversations: Sequence[Conversation], tokenizer: EncoderTokenizer, config: TokensConfig
) -> list[tuple[TokenSequence, ...]]:
    """Tokenises conversations; every utterance is encoded once, however many contexts it is in.

    Args:
        conversations: The conversations to tokenise.
        tokenizer: The encoder's.
        config: Window, limits and switches.

    Returns:
        For each conversation, one sequence per turn.
    """
    special = tokenizer.ids
    texts = [turn.text for conversation in conversations for turn in conversation.turns]
    encoded = iter(tokenizer.encode(texts))
    result = []
    for conversation in conversations:
        utterances = [next(encoded) for _ in conversation.turns]
        speakers = conversation.speaker_indices()
        sequences = []
        for turn, target in enumerate(utterances):
            earlier = indi_context(speakers, turn, config.window) if config.indi_context else []
            sequences.append(build_sequence(target, [utterances[j] for j in earlier], special, config))
        result.append(tuple(sequences))
    return result
