"""Small conversations, configs and models for tests.

Sizes are pairwise distinct, and prime where they may be, so that swapped axes fail.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.traverse_util
import jax
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.tokenize import TokenSequence
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import build_model
from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import Manifest
from dtrm_jax.special_tokens import BERT_TOKENS

PAD, UNK, CLS, SEP = range(4)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
VOCABULARY = 61
LABELS = LabelSpace(("calm", "glad", "sad", "cross", "afraid"))


def make_tokenizer(vocabulary: int = VOCABULARY) -> EncoderTokenizer:
    """Returns a tokenizer whose word "w7" has id 7, and so on; ids 0 to 3 are [PAD] [UNK] [CLS] [SEP]."""
    words = (*SPECIAL, *(f"w{index}" for index in range(len(SPECIAL), vocabulary)))
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return EncoderTokenizer(tokenizer, BERT_TOKENS)


def make_conversation(
    speakers: str, texts: Sequence[str], labels: Sequence[str | None], name: str = "c"
) -> Conversation:
    """Returns a conversation; ``speakers`` has one letter per turn."""
    rows = enumerate(zip(speakers, texts, labels, strict=True))
    return Conversation(name, tuple(Turn(str(i), speaker, text, label=label) for i, (speaker, text, label) in rows))


def random_conversation(
    random: np.random.Generator, turns: int, words: int = 5, speakers: str = "ABC", unlabelled: float = 0.2
) -> Conversation:
    """Returns a conversation of 1 to ``words`` words per turn."""
    texts = [
        " ".join(f"w{word}" for word in random.integers(len(SPECIAL), VOCABULARY, random.integers(1, words + 1)))
        for _ in range(turns)
    ]
    labels = [None if random.random() < unlabelled else str(random.choice(LABELS.names)) for _ in range(turns)]
    return make_conversation("".join(random.choice(list(speakers), turns)), texts, labels)


def with_features(
    random: np.random.Generator,
    conversation: Conversation,
    sizes: Mapping[str, int],
    absent: Sequence[tuple[int, str]] = (),
) -> Conversation:
    """Returns the conversation with random features; ``absent`` holds (turn, feature) pairs that it lacks."""
    features = {name: random.normal(3, 2, (len(conversation), size)).astype(np.float32) for name, size in sizes.items()}
    for turn, name in absent:
        features[name][turn] = np.nan
    return dataclasses.replace(conversation, features=features)


def text_examples(
    conversations: Sequence[Conversation], config: Config, tokenizer: EncoderTokenizer | None = None
) -> list[Example]:
    """Returns conversations labelled with ``LABELS`` as the packer takes them, by default with ``make_tokenizer``'s."""
    return make_examples(conversations, LABELS, tokenizer or make_tokenizer(), Normalization({}, {}, bound=0.0), config)


def random_examples(seed: int, turns: Sequence[int], config: Config, **settings) -> list[Example]:
    """Returns random conversations of the given numbers of turns, tokenised as ``config`` says."""
    random = np.random.default_rng(seed)
    return text_examples([random_conversation(random, count, **settings) for count in turns], config)


def sized(*lengths: int, first_id: int = 1) -> Example:
    """Returns a conversation whose sequences have the given lengths; token ids count up from ``first_id``."""
    sequences, next_id = [], first_id
    for length in lengths:
        sequences.append(TokenSequence(np.arange(next_id, next_id + length, dtype=np.int32), -(-length // 2)))
        next_id += length
    return text_only(tuple(sequences), np.arange(len(lengths), dtype=np.int32) % len(LABELS))


def text_only(sequences: tuple[TokenSequence, ...], labels: np.ndarray) -> Example:
    """Returns an example without real values and features."""
    turns = len(labels)
    return Example(
        sequences=sequences,
        context_segment=1,
        speakers=np.arange(turns, dtype=np.int32) % 2,
        labels=labels,
        values=np.zeros((turns, 0), np.float32),
        features={},
    )


def tiny_config(**settings: Any) -> Config:
    """Returns a config with a tiny model and no dropout; ``model__dtype="bfloat16"`` sets ``config.model.dtype``."""
    config = Config()
    tiny = {
        "train__select_by": "weighted_f1",
        "tokens__window": 3,
        "tokens__max_length": 29,
        "model__dropout": 0.0,
        "model__encoder__dropout": 0.0,
        "model__encoder__attention_dropout": 0.0,
        "model__intra_modal__layers": 2,
        "model__intra_modal__heads": 2,
        "model__intra_modal__feed_forward": 11,
        "model__intra_modal__dropout": 0.0,
    }
    for path, value in {**tiny, **settings}.items():
        *sections, name = path.split("__")
        section = config
        for part in sections:
            section = getattr(section, part)
        if not hasattr(section, name):
            raise AttributeError(path)
        setattr(section, name, value)
    return config


def tiny_encoder(config: Config, **sizes: int) -> BertConfig:
    """Returns the sizes of a tiny BERT with the dropout rates of ``config``."""
    defaults = {"vocab_size": VOCABULARY, "hidden_size": 14, "layers": 2, "heads": 2, "intermediate_size": 19}
    encoder = config.model.encoder
    return BertConfig(
        **{**defaults, "max_positions": 31, **sizes},
        dropout=encoder.dropout,
        attention_dropout=encoder.attention_dropout,
        products=encoder.products,
    )


def tiny_model(config: Config, shape: PackShape, **sizes: int) -> Model:
    """Returns the tiny model for packs of ``shape``."""
    return build_model(config, tiny_encoder(config, **sizes), len(LABELS), shape)


def random_params(model: Model, seed: int = 0) -> Any:
    """Returns parameters far from their initial values: fresh biases are 0 and would hide mistakes."""
    return random_params_like(parameter_shapes(model), seed)


def random_params_like(shapes: Any, seed: int = 0) -> Any:
    """Returns such parameters for a tree of shapes."""
    random = np.random.default_rng(seed)
    flat = flax.traverse_util.flatten_dict(shapes)
    values = {}
    for path, leaf in flat.items():
        spread = 1.2 * leaf.shape[0] ** -0.5 if path[-1] == "kernel" else 0.3
        values[path] = jax.numpy.asarray(random.normal(float(path[-1] == "scale"), spread, leaf.shape), "float32")
    return flax.traverse_util.unflatten_dict(values)


def stack(packs: Sequence[Batch]) -> Batch:
    """Returns one batch with a leading axis of packs."""
    return jax.tree.map(lambda *arrays: np.stack(arrays), *packs)


def assert_trees_close(found: Any, expected: Any, atol: float) -> None:
    """Compares every leaf, naming the one that differs."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, value), other in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=atol, err_msg=jax.tree_util.keystr(path))


def small_manifest(encoder, **settings) -> Manifest:
    """Returns the manifest of a run with two classes."""
    labels = LabelSpace(("x", "y"))
    return Manifest(
        corpus="corpus", labels=labels, encoder=encoder, shape=PackShape((), 16), total_steps=17, **settings
    )
