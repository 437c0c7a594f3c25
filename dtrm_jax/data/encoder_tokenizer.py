"""The tokenizer of an encoder: text to vocabulary ids, and the special tokens around them."""

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_object
from dtrm_jax.replacing import naming
from dtrm_jax.special_tokens import BERT_TOKENS, SpecialTokens

# Letters, digits, punctuation, scripts, symbols and control characters: at least one of them is in no vocabulary.
_PROBE = "A naïve probe: 12.5 % of 我們 Привет \U0001f600 \u0378 \x00\x07\u200d\ufffd don't ☃!"
_OPTIONS = ("tokenize_chinese_chars", "strip_accents", "do_lower_case", "add_prefix_space")
# transformers' classes, of versions 4 and 5, that take tokenizer.json as it is.
_FOLLOWING_NO_OPTIONS = ("PreTrainedTokenizerFast", "TokenizersBackend")
_FILES = "tokenizer.json, or vocab.txt (WordPiece), or vocab.json and merges.txt (byte-level BPE)"


class SpecialIds(NamedTuple):
    """The vocabulary ids of ``SpecialTokens``' first, between and last."""

    first: int
    between: tuple[int, ...]
    last: int


@dataclasses.dataclass(frozen=True)
class EncoderTokenizer:
    """A tokenizer with the special tokens that its encoder expects around a pair of texts.

    Attributes:
        tokenizer: Encodes a text; truncation and padding are off.
        special: The special tokens; the tokenizer knows all of them.
        origin: Where it comes from, for errors.
    """

    tokenizer: Tokenizer
    special: SpecialTokens
    origin: str = "tokenizer"

    def __post_init__(self):
        """Marks the special tokens as such, which not every ``tokenizer.json`` does: only those can be protected."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        marked = {token.content for token in added if token.special}
        self.tokenizer.add_special_tokens([token for token in self.special.all if token not in marked])
        self.tokenizer.encode_special_tokens = True  # once: no thread may change it while another encodes

    @property
    def ids(self) -> SpecialIds:
        """The ids of the special tokens."""
        id_of = self.tokenizer.token_to_id
        between = tuple(id_of(token) for token in self.special.between)
        return SpecialIds(id_of(self.special.first), between, id_of(self.special.last))

    @property
    def size(self) -> int:
        """Entries of the vocabulary, special tokens included."""
        return self.tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, without special tokens.

        Somebody who writes "[SEP]" or "</s>" in an utterance gets ordinary characters.

        Raises:
            InputError: The tokenizer's own file is such that it cannot encode a text.
        """
        reserved = self._reserved.keys()
        with _refusing(f"{self.origin}: expected a tokenizer that encodes every text, found"):
            encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            return [one.ids if reserved.isdisjoint(one.ids) else self._spelled(one.ids) for one in encoded]

    @functools.cached_property
    def _reserved(self) -> dict[int, str]:
        """The tokens that no text may become, by id; the unknown token may well stand for something in it."""
        added = self.tokenizer.get_added_tokens_decoder()
        reserved = {index: token.content for index, token in added.items() if token.special}
        del reserved[self.tokenizer.token_to_id(self.special.unknown)]
        return reserved

    def _spelled(self, ids: Sequence[int]) -> list[int]:
        """Replaces special tokens by their characters.

        The vocabulary of a SentencePiece model holds them as ordinary pieces, which it finds in texts.
        """
        model, result = self.tokenizer.model, []
        for index in ids:
            characters = self._reserved.get(index)
            pieces = [] if characters is None else [model.tokenize(character) for character in characters]
            result += [index] if characters is None else [piece.id for found in pieces for piece in found]
        return result

    def save(self, path: str | os.PathLike) -> None:
        """Writes a ``tokenizer.json``."""
        with naming(path):
            self.tokenizer.save(str(path))

    @classmethod
    def load(cls, path: str | os.PathLike, special: SpecialTokens) -> "EncoderTokenizer":
        """Reads a ``tokenizer.json``; whatever it says of truncation and padding is switched off.

        Raises:
            InputError: It is missing or damaged, or lacks one of the special tokens.
        """
        with _quiet(), _refusing(f"{path}: expected a tokenizer of the tokenizers library, found"):
            tokenizer = Tokenizer.from_file(str(path))
            _check_special_tokens(Path(path), tokenizer.get_vocab(with_added_tokens=True), special)
            tokenizer.no_truncation()
            tokenizer.no_padding()
            loaded = cls(tokenizer, special, str(path))
            loaded.encode([_PROBE, *special.all])
        return loaded


@contextlib.contextmanager
def _refusing(expected: str) -> Iterator[None]:
    """Turns what the library raises about a file, bare exceptions and panics of its Rust, into one line."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        # A panic is no Exception, so that nobody takes it for one by accident.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{expected} {' '.join(str(error).split())}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what Rust prints of a panic, which goes to the process's standard error and not to Python's."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def load_tokenizer(folder: Path, special: SpecialTokens, vocab_size: int) -> EncoderTokenizer:
    """Reads the tokenizer of an encoder's folder: ``tokenizer.json``, or built from the vocabulary files.

    Args:
        folder: With the encoder's files.
        special: The special tokens of its family.
        vocab_size: Rows of its word embedding.

    Raises:
        InputError: There is no such file, one is damaged, two contradict each other, a special token is missing, or
            an id lies outside the embedding.
    """
    if (folder / "tokenizer.json").is_file():
        path = folder / "tokenizer.json"
        tokenizer = EncoderTokenizer.load(path, special)
        _check_options(folder / "tokenizer_config.json", tokenizer.tokenizer.normalizer)
    elif (folder / "vocab.txt").is_file():
        path = folder / "vocab.txt"
        tokenizer = _word_piece(path, folder / "tokenizer_config.json", special)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        path = folder / "vocab.json"
        tokenizer = _byte_pairs(path, folder / "merges.txt", folder / "tokenizer_config.json", special)
    else:
        raise InputError(f"{folder}: no tokenizer, expected {_FILES}{_hint(folder)}")
    highest = max(tokenizer.tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= vocab_size:
        raise InputError(f"{path}: expected ids below the vocab_size {vocab_size} of config.json, found {highest}")
    return tokenizer


def word_tokenizer(texts: Iterable[str]) -> EncoderTokenizer:
    """Builds a tokenizer whose vocabulary is the lower-cased words and the punctuation of texts.

    It is what an encoder without pretrained weights starts from; other words become [UNK].
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token=BERT_TOKENS.unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(special_tokens=list(BERT_TOKENS.all), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return EncoderTokenizer(tokenizer, BERT_TOKENS)


def _hint(folder: Path) -> str:
    """Returns what to do about a tokenizer that is there in another form; empty if there is none."""
    if not list(folder.glob("*.model")):
        return ""
    return (
        "; a SentencePiece model alone is not read; convert it, where transformers and sentencepiece are installed, "
        f'with: python -c "from transformers import AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')\""
    )


def _word_piece(path: Path, options_path: Path, special: SpecialTokens) -> EncoderTokenizer:
    """Builds BERT's WordPiece from ``vocab.txt``, with the options of ``tokenizer_config.json`` if there are any."""
    try:
        with path.open(encoding="utf-8") as lines:
            vocabulary = {line.rstrip("\n"): index for index, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, one token per line, found {error}") from error
    _check_special_tokens(path, vocabulary, special)
    options = _options(options_path, _read_object(options_path))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=special.unknown, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),  # if None, accents go where the text is lower-cased
        lowercase=options.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _with_special(path, tokenizer, special, vocabulary, ("[MASK]", "<mask>"))


def _byte_pairs(path: Path, merges_path: Path, options_path: Path, special: SpecialTokens) -> EncoderTokenizer:
    """Builds RoBERTa's byte-level BPE from ``vocab.json`` and ``merges.txt``, with the options as above."""
    with _quiet(), _refusing(f"{path}: expected the vocabulary of a byte-level BPE, found"):
        model = models.BPE.from_file(str(path), str(merges_path))
    tokenizer = Tokenizer(model)
    vocabulary = tokenizer.get_vocab()
    _check_special_tokens(path, vocabulary, special)
    prefix_space = _options(options_path, _read_object(options_path)).get("add_prefix_space", False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return _with_special(path, tokenizer, special, vocabulary, ("<mask>",))


def _with_special(
    path: Path, tokenizer: Tokenizer, special: SpecialTokens, vocabulary: dict[str, int], masks: tuple[str, ...]
) -> EncoderTokenizer:
    known = [token for token in (*special.all, *masks) if token in vocabulary]
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in known])
    # Not used here; whoever loads the run's tokenizer.json elsewhere gets the pairs that the encoder was trained on.
    between, second = " ".join(special.between), ":1" if len(special.between) == 1 else ""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special.first} $A {special.last}",
        pair=f"{special.first} $A {between} $B{second} {special.last}{second}",
        special_tokens=[(token, vocabulary[token]) for token in {special.first, *special.between, special.last}],
    )
    return EncoderTokenizer(tokenizer, special, str(path))


def _check_special_tokens(path: Path, vocabulary: dict[str, int], special: SpecialTokens) -> None:
    if absent := [token for token in special.all if token not in vocabulary]:
        raise InputError(f"{path}: expected the tokens {', '.join(special.all)}, found no {', '.join(absent)}")


def _check_options(path: Path, normalizer: normalizers.Normalizer | None) -> None:
    """Refuses a ``tokenizer_config.json`` that contradicts the normalizer of ``tokenizer.json``.

    transformers' classes for BERT's kind of tokenizer follow the options; its class for any tokenizer does not.
    """
    if not isinstance(normalizer, normalizers.BertNormalizer):
        return
    given = _read_object(path)
    if given.get("tokenizer_class") in _FOLLOWING_NO_OPTIONS:
        return
    options, lowercase, accents = _options(path, given), normalizer.lowercase, normalizer.strip_accents
    stored = {
        "do_lower_case": lowercase,
        "strip_accents": lowercase if accents is None else accents,
        "tokenize_chinese_chars": normalizer.handle_chinese_chars,
    }
    for name, value in stored.items():
        if options.get(name, value) != value:
            raise InputError(f"{path}: {name}: expected {value}, as tokenizer.json has it, found {options[name]}")


def _options(path: Path, given: Mapping[str, Any]) -> dict[str, bool]:
    """Returns the options of a ``tokenizer_config.json`` that are read here, those that are given and not null.

    Raises:
        InputError: An option is not true or false.
    """
    found = {name: given[name] for name in _OPTIONS if given.get(name) is not None}
    for name, value in found.items():
        if type(value) is not bool:
            raise InputError(f"{path}: {name}: expected true or false, found {value!r}")
    return found


def _read_object(path: Path) -> dict[str, Any]:
    """Returns the content of a ``tokenizer_config.json``, nothing if there is none; raises InputError if damaged."""
    return read_object(path, "the options of a tokenizer") if path.is_file() else {}
