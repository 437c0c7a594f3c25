"""Token sequences: eq. 1's layout, truncation, and each of Table 3's switches."""

import dataclasses

import numpy as np
import pytest

from dtrm_jax.config import TokensConfig
from dtrm_jax.conversation import Conversation, Turn
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
    tokenizer = word_tokenizer(["so [SEP] what"])
    (tokenized,) = tokenize([conversation], tokenizer, CONFIG)
    pieces = [tokenizer.tokenizer.id_to_token(token) for token in tokenized[0].token_ids]
    assert pieces == ["[CLS]", "so", "[", "sep", "]", "what", "[SEP]"]


LATER = [[50], [60, 61]]


def test_the_future_stands_behind_the_past_and_a_separator_of_its_own():
    sequence = build_sequence(TARGET, CONTEXT, SPECIAL, CONFIG, LATER)
    assert sequence.token_ids.tolist() == [CLS, 10, 11, 12, SEP, 20, 21, 30, 40, 41, 42, SEP, 50, 60, 61, SEP]
    assert sequence.first_segment == 5


def test_without_a_past_the_future_is_still_told_from_it():
    sequence = build_sequence(TARGET, [], SPECIAL, CONFIG, LATER)
    assert sequence.token_ids.tolist() == [CLS, 10, 11, 12, SEP, SEP, 50, 60, 61, SEP]
    assert build_sequence(TARGET, CONTEXT, SPECIAL, CONFIG, [[]]).token_ids.tolist() == build()[0]


@pytest.mark.parametrize(
    ("limit", "past", "future"),
    [
        (16, [20, 21, 30, 40, 41, 42], [50, 60, 61]),
        (15, [21, 30, 40, 41, 42], [50, 60, 61]),
        (13, [40, 41, 42], [50, 60, 61]),
        (12, [40, 41, 42], [50, 60]),
        (11, [41, 42], [50, 60]),
        (9, [42], [50]),
        # Where no token of the future has room, neither has its separator, whose slot the past takes.
        (8, [41, 42], []),
        (6, [], []),
    ],
)
def test_the_farthest_tokens_of_both_sides_are_dropped_first(limit, past, future):
    config = dataclasses.replace(CONFIG, max_length=limit)
    found = build_sequence(TARGET, CONTEXT, SPECIAL, config, LATER).token_ids.tolist()
    context = [*past, *([SEP, *future] if future else []), SEP] if past else []
    assert found == [CLS, 10, 11, 12, SEP, *context]
    assert len(found) <= limit


def test_what_the_past_leaves_free_goes_to_the_future():
    config = dataclasses.replace(CONFIG, max_length=11)
    found = build_sequence(TARGET, [[42]], SPECIAL, config, [[50] * 9]).token_ids.tolist()
    assert found == [CLS, 10, 11, 12, SEP, 42, SEP, 50, 50, 50, SEP]


def test_no_limit_is_ever_exceeded_with_a_future_either():
    random = np.random.default_rng(1)
    for _ in range(300):
        sizes = random.integers(0, 9, 3)
        config = TokensConfig(max_length=int(random.integers(3, 30)), separator=bool(random.integers(2)))
        target, past, future = ([token] * int(size) for token, size in zip((10, 20, 30), sizes, strict=True))
        found = build_sequence(target, [past], SPECIAL, config, [future]).token_ids.tolist()
        own = min(len(target), config.max_length - 2)
        assert len(found) <= config.max_length and found.count(10) == own
        kept = found.count(20), found.count(30)
        # Nothing is dropped while there is room, and never from the side that has less.
        if sum(kept) < len(past) + len(future) and kept[1]:
            assert len(found) == config.max_length
            assert abs(kept[0] - kept[1]) <= 1 or kept[0] == len(past) or kept[1] == len(future)


def test_the_future_is_the_same_speakers_later_turns_within_reach():
    assert tokens_of(DIALOGUE, future=2) == [
        [CLS, 10, SEP, SEP, 11, SEP],
        [CLS, 20, 21, SEP],
        [CLS, 11, SEP, 10, SEP, 12, SEP],
        [CLS, 12, SEP, 10, 11, SEP],
        [CLS, 22, SEP, 20, 21, SEP],
    ]
    assert tokens_of(DIALOGUE, future=3, window=0)[:2] == [
        [CLS, 10, SEP, SEP, 11, 12, SEP],
        [CLS, 20, 21, SEP, SEP, 22, SEP],
    ]
    assert tokens_of(DIALOGUE, future=9, indi_context=False) == tokens_of(DIALOGUE, indi_context=False)
    assert tokens_of(DIALOGUE, future=2, separator=False)[2] == [CLS, 11, 10, 12, SEP]


def test_names_stand_before_target_and_context_and_are_encoded_once_per_turn():
    conversation = make_conversation("ABA", ["so what", "nothing", "fine"], [None] * 3)
    config = dataclasses.replace(CONFIG, speaker_names=True)
    tokenizer = word_tokenizer(["a: so what", "b: nothing", "fine"])
    counting = CountingTokenizer(tokenizer.tokenizer, BERT_TOKENS)
    seen.clear()
    (tokenized,) = tokenize([conversation], counting, config)
    assert seen == ["A: so what", "B: nothing", "A: fine"]
    pieces = [" ".join(map(counting.tokenizer.id_to_token, sequence.token_ids)) for sequence in tokenized]
    assert pieces == [
        "[CLS] a : so what [SEP]",
        "[CLS] b : nothing [SEP]",
        "[CLS] a : fine [SEP] a : so what [SEP]",
    ]
    (plain,) = tokenize([conversation], counting, CONFIG)
    assert [len(one) for one in plain] == [4, 3, 6]


def test_a_name_that_looks_like_a_special_token_is_ordinary_text():
    turn = Turn("1", "[SEP]", "hello")
    tokenizer = word_tokenizer(["[SEP]: hello"])
    ((sequence,),) = tokenize([Conversation("c", (turn,))], tokenizer, TokensConfig(speaker_names=True))
    pieces = [tokenizer.tokenizer.id_to_token(token) for token in sequence.token_ids]
    assert pieces == ["[CLS]", "[", "sep", "]", ":", "hello", "[SEP]"]
