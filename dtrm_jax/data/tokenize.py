"""Token sequences of eq. 1: ``[CLS] x_i [SEP] indi-context, oldest first [SEP]``."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from dtrm_jax.config import TokensConfig
from dtrm_jax.conversation import Conversation, indi_context

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


@dataclasses.dataclass(frozen=True, slots=True)
class TokenSequence:
    """One turn's input to the encoder.

    Attributes:
        token_ids: int32 ``[length]``.
        first_segment: How many tokens, from the start, are the utterance's own, with [CLS] and [SEP]: segment 0. The
            others are context: segment 1.
    """

    token_ids: np.ndarray
    first_segment: int

    def __len__(self) -> int:
        return len(self.token_ids)


def build_sequence(
    target: Sequence[int], context: Sequence[Sequence[int]], cls_id: int, sep_id: int, config: TokensConfig
) -> TokenSequence:
    """Builds one sequence and fits it into ``config.max_length``.

    The oldest context tokens are dropped first; the target is cut, at its end, only when it alone does not fit. (Stock
    truncation strategies drop the newest context.) Without context there is a single [SEP].

    Args:
        target: The utterance's vocabulary ids, without special tokens.
        context: Each context utterance's ids, oldest first.
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].
        config: Limits and Table 3's switches.
    """
    target = list(target)[: config.max_length - 2]
    between = [sep_id] if config.separator else []
    head = [cls_id, *target, *between]
    room = config.max_length - len(head) - 1
    recent = [token for utterance in context for token in utterance]
    recent = recent[max(0, len(recent) - room) :] if room > 0 else []
    if recent:
        token_ids = [*head, *recent, sep_id]
    else:
        token_ids = head = [cls_id, *target, sep_id]
    return TokenSequence(np.asarray(token_ids, np.int32), first_segment=len(head))


def tokenize(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, config: TokensConfig
) -> list[tuple[TokenSequence, ...]]:
    """Tokenises conversations; every utterance is encoded once, however many contexts it is in.

    Args:
        conversations: What to tokenise.
        tokenizer: Encodes a text to vocabulary ids; must know [CLS] and [SEP].
        config: Window, limits and switches.

    Returns:
        For each conversation, a sequence a turn.
    """
    cls_id, sep_id = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.encode_special_tokens = True  # somebody who writes "[SEP]" in an utterance gets four ordinary characters
    texts = [turn.text for conversation in conversations for turn in conversation.turns]
    encoded = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    result = []
    for conversation in conversations:
        utterances = [next(encoded).ids for _ in conversation.turns]
        speakers = conversation.speaker_indices()
        sequences = []
        for turn, target in enumerate(utterances):
            earlier = indi_context(speakers, turn, config.window) if config.indi_context else []
            sequences.append(build_sequence(target, [utterances[j] for j in earlier], cls_id, sep_id, config))
        result.append(tuple(sequences))
    return result


def word_tokenizer(conversations: Sequence[Conversation]) -> Tokenizer:
    """Builds a tokenizer whose vocabulary is the conversations' lower-cased words and punctuation.

    It is what an encoder without pretrained weights starts from; other words become [UNK].
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    texts = (turn.text for conversation in conversations for turn in conversation.turns)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
