"""Token sequences of eq. 1: ``[CLS] x_i [SEP] indi-context, oldest first [SEP]``.

The paper's context is what the speaker said before. ``config.tokens.future`` adds what the same speaker says later, in
the order in which it is said: ``[CLS] x_i [SEP] past [SEP] future [SEP]``. The separator before the future stands there
even if there is no past, so that the two can be told apart. Both are context, in segment 1. A turn without a later one
of its speaker in reach has the sequence of eq. 1.

``config.tokens.speaker_names`` writes the speaker's name before each utterance, target and context alike, as EmoBERTa
does (Kim and Vossen, 2021).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.config import TokensConfig
from dtrm_jax.conversation import Conversation, Turn, future_indi_context, indi_context
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer, SpecialIds


@dataclasses.dataclass(frozen=True, slots=True)
class TokenSequence:
    """One turn's input to the encoder.

    Attributes:
        token_ids: int32 ``[length]``.
        first_segment: How many tokens, from the start, belong to segment 0: the utterance with the token before it and
            the first one after it. All others belong to segment 1, the context.
        cut: Whether the utterance alone did not fit, so that its end is missing.
    """

    token_ids: np.ndarray
    first_segment: int
    cut: bool = False

    def __len__(self) -> int:
        return len(self.token_ids)


def build_sequence(
    target: Sequence[int],
    past: Sequence[Sequence[int]],
    special: SpecialIds,
    config: TokensConfig,
    future: Sequence[Sequence[int]] = (),
) -> TokenSequence:
    """Builds one sequence and fits it into ``config.max_length``.

    The context tokens farthest from the target are dropped first: without a future, the oldest; with one, those of
    whichever side has more left, counted in tokens, the future's first. The target is cut, at its end, only when it
    alone does not fit. (Stock truncation strategies drop the newest context.) Without context, nothing but
    ``special.last`` follows the target.

    Args:
        target: The utterance's vocabulary ids, without special tokens.
        past: The ids of each earlier utterance of the context, oldest first.
        special: Ids of the special tokens.
        config: Limits and Table 3's switches.
        future: The ids of each later utterance of the context, the next one first.
    """
    own = [special.first, *target[: config.max_length - 2]]
    between = list(special.between) if config.separator else []
    room = max(0, config.max_length - len(own) - len(between) - 1)
    before, after = ([token for utterance in side for token in utterance] for side in (past, future))
    context = _fitted(before, after, between, room)
    if not context:
        cut = len(target) > config.max_length - 2
        return TokenSequence(np.asarray([*own, special.last], np.int32), first_segment=len(own) + 1, cut=cut)
    token_ids = np.asarray([*own, *between, *context, special.last], np.int32)
    return TokenSequence(token_ids, first_segment=len(own) + len(between[:1]))


def _fitted(before: list[int], after: list[int], between: list[int], room: int) -> list[int]:
    """Returns the context tokens that fit: the end of the past and, behind a separator, the start of the future."""
    free = room - len(between)
    kept = min(len(before), max(free - len(after), free - free // 2))
    ahead = after[: max(0, free - kept)]
    if not ahead:
        return before[max(0, len(before) - room) :]
    return [*before[len(before) - kept :], *between, *ahead]


def spoken(turn: Turn, config: TokensConfig) -> str:
    """Returns the text that the encoder reads of a turn."""
    return f"{turn.speaker}: {turn.text}" if config.speaker_names else turn.text


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
    texts = [spoken(turn, config) for conversation in conversations for turn in conversation.turns]
    encoded = iter(tokenizer.encode(texts))
    result = []
    for conversation in conversations:
        utterances = [next(encoded) for _ in conversation.turns]
        speakers = conversation.speaker_indices()
        result.append(tuple(sequence_of(i, utterances, speakers, special, config) for i in range(len(utterances))))
    return result


def sequence_of(
    turn: int,
    utterances: Sequence[Sequence[int]],
    speakers: Sequence[object],
    special: SpecialIds,
    config: TokensConfig,
) -> TokenSequence:
    """Returns the sequence of one turn of a conversation.

    Args:
        turn: Its index.
        utterances: The ids of each turn's text.
        speakers: Each turn's speaker.
        special: Ids of the special tokens.
        config: Window, limits and switches.
    """
    past = indi_context(speakers, turn, config.window) if config.indi_context else []
    future = future_indi_context(speakers, turn, config.future) if config.indi_context else []
    before, after = ([utterances[j] for j in side] for side in (past, future))
    return build_sequence(utterances[turn], before, special, config, after)
