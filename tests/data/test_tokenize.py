"""Token sequences: eq. 1's layout, truncation, and each of Table 3's switches."""

import dataclasses

import numpy as np
import pytest

from dtrm_jax.config import TokensConfig
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer, SpecialIds, word_tokenizer
from dtrm_jax.data.tokenize import build_sequence, tokenize
from dtrm_jax.special_tokens import BERT_TOKENS
from tests.factories import CLS, SEP, UNK, make_conversation, make_tokenizer, random_conversation

CONFIG = TokensConfig(window=14, max_length=512)
SPECIAL = SpecialIds(CLS, (SEP,), SEP)
TARGET = [10, 11, 12]
CONTEXT = [[20, 21], [30], [40, 41, 42]]


def build(target=TARGET, context=CONTEXT, **settings):
    sequence = build_sequence(target, context, SPECIAL, dataclasses.replace(CONFIG, **settings))
    segments = [0] * sequence.first_segment + [1] * (len(sequence) - sequence.first_segment)
    return sequence.token_ids.tolist(), segments


def tokens_of(conversation, **settings):
    [sequences] = tokenize([conversation], make_tokenizer(), dataclasses.replace(CONFIG, **settings))
    return [sequence.token_ids.tolist() for sequence in sequences]


def test_equation_1():
    tokens, segments = build()
    assert tokens == [CLS, 10, 11, 12, SEP, 20, 21, 30, 40, 41, 42, SEP]
    assert segments == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert build_sequence(TARGET, CONTEXT, SPECIAL, CONFIG).token_ids.dtype == np.int32


@pytest.mark.parametrize("context", [[], [[]], [[], []]])
@pytest.mark.parametrize("separator", [True, False])
def test_without_context_there_is_one_separator(context, separator):
    assert build(context=context, separator=separator) == ([CLS, 10, 11, 12, SEP], [0] * 5)


def test_an_empty_utterance_keeps_its_place():
    assert build([], [[20]]) == ([CLS, SEP, 20, SEP], [0, 0, 1, 1])
    assert build([], []) == ([CLS, SEP], [0, 0])


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (12, [20, 21, 30, 40, 41, 42]),
        (11, [21, 30, 40, 41, 42]),
        (10, [30, 40, 41, 42]),
        (9, [40, 41, 42]),
        (8, [41, 42]),
        (7, [42]),
    ],
)
def test_the_oldest_context_tokens_are_dropped_first(limit, kept):
    tokens, segments = build(max_length=limit)
    assert tokens == [CLS, 10, 11, 12, SEP, *kept, SEP]
    assert len(tokens) == limit
    assert segments == [0] * 5 + [1] * (len(kept) + 1)


@pytest.mark.parametrize("limit", [6, 5])
def test_a_context_without_room_goes_with_its_separator(limit):
    assert build(max_length=limit) == ([CLS, 10, 11, 12, SEP], [0] * 5)


@pytest.mark.parametrize(("limit", "kept"), [(5, [10, 11, 12]), (4, [10, 11]), (3, [10])])
def test_the_target_is_cut_only_when_it_alone_is_too_long(limit, kept):
    assert build(max_length=limit) == ([CLS, *kept, SEP], [0] * (len(kept) + 2))


def test_no_limit_is_ever_exceeded_and_the_target_comes_before_the_context():
    random = np.random.default_rng(0)
    for _ in range(300):
        target = [10] * random.integers(0, 9)
        context = [[20] * random.integers(0, 5) for _ in range(random.integers(0, 5))]
        limit = int(random.integers(3, 25))
        separator = bool(random.integers(2))
        tokens, _ = build(target, context, max_length=limit, separator=separator)
        assert len(tokens) <= limit
        assert tokens.count(10) == min(len(target), limit - 2)
        in_context = sum(map(len, context))
        specials = 3 if separator else 2
        assert tokens.count(20) == max(0, min(in_context, limit - specials - tokens.count(10)))


def test_without_separator_only_the_one_between_is_missing():
    tokens, segments = build(separator=False)
    assert tokens == [CLS, 10, 11, 12, 20, 21, 30, 40, 41, 42, SEP]
    assert segments == [0] * 4 + [1] * 7


def test_without_separator_its_place_goes_to_the_context():
    assert build(separator=False, max_length=7)[0] == [CLS, 10, 11, 12, 41, 42, SEP]


DIALOGUE = make_conversation("ABAAB", ["w10", "w20 w21", "w11", "w12", "w22"], [None] * 5)


def test_context_is_the_same_speakers_earlier_turns_oldest_first():
    assert tokens_of(DIALOGUE) == [
        [CLS, 10, SEP],
        [CLS, 20, 21, SEP],
        [CLS, 11, SEP, 10, SEP],
        [CLS, 12, SEP, 10, 11, SEP],
        [CLS, 22, SEP, 20, 21, SEP],
    ]


def test_without_indi_context_every_utterance_is_alone():
    words = [10], [20, 21], [11], [12], [22]
    assert tokens_of(DIALOGUE, indi_context=False) == [[CLS, *utterance, SEP] for utterance in words]


@pytest.mark.parametrize(
    ("window", "third", "fourth", "fifth"),
    [(0, [], [], []), (1, [], [11], []), (2, [10], [11], []), (3, [10], [10, 11], [20, 21])],
)
def test_the_window_counts_all_turns(window, third, fourth, fifth):
    found = tokens_of(DIALOGUE, window=window)
    for turn, word, context in ((2, 11, third), (3, 12, fourth), (4, 22, fifth)):
        assert found[turn] == [CLS, word, SEP, *context, *([SEP] if context else [])]


def test_unknown_words_are_unknown():
    assert tokens_of(make_conversation("A", ["w10 never-seen w11"], [None])) == [[CLS, 10, UNK, 11, SEP]]


class CountingTokenizer(EncoderTokenizer):
    def encode(self, texts):
        seen.extend(texts)
        return super().encode(texts)


seen: list[str] = []


def test_every_utterance_is_encoded_once():
    random = np.random.default_rng(0)
    conversations = [random_conversation(random, turns) for turns in (7, 1, 11)]
    counting = CountingTokenizer(make_tokenizer().tokenizer, BERT_TOKENS)
    seen.clear()
    together = tokenize(conversations, counting, CONFIG)
    assert seen == [turn.text for conversation in conversations for turn in conversation.turns]
    for conversation, result in zip(conversations, together, strict=True):
        assert [sequence.token_ids.tolist() for sequence in result] == tokens_of(conversation)


def test_a_special_token_that_somebody_writes_is_ordinary_text():
    conversation = make_conversation("A", ["so [SEP] what"], [None])
    tokenizer = word_tokenizer([conversation])
    (tokenized,) = tokenize([conversation], tokenizer, CONFIG)
    pieces = [tokenizer.tokenizer.id_to_token(token) for token in tokenized[0].token_ids]
    assert pieces == ["[CLS]", "so", "[", "sep", "]", "what", "[SEP]"]
