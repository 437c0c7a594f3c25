"""What every family of utterance encoders provides; its file in this folder holds all that is known of the family.

A family is a frozen dataclass of sizes, an ``Encoder``. It says how its ``config.json`` is read, which special tokens
its tokenizer writes around a pair of texts, which module computes it and where each array of its weight file goes.
"""

import dataclasses
from typing import Any, ClassVar, Protocol, Self

import flax.linen as nn
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecialTokens:
    """The tokens that a family's tokenizer writes around a pair of texts: ``first A between B last``.

    Attributes:
        first: Before the utterance; its state represents the utterance (eq. 1's [CLS]).
        between: Between utterance and context. The first of them ends segment 0.
        last: After the context, or after the utterance where there is no context.
        padding: What unused slots would be filled with.
        unknown: What stands for anything outside the vocabulary.
    """

    first: str
    between: tuple[str, ...]
    last: str
    padding: str
    unknown: str


BERT_TOKENS = SpecialTokens(first="[CLS]", between=("[SEP]",), last="[SEP]", padding="[PAD]", unknown="[UNK]")
ROBERTA_TOKENS = SpecialTokens(first="<s>", between=("</s>", "</s>"), last="</s>", padding="<pad>", unknown="<unk>")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where one array of a weight file goes in the parameter tree.

    Attributes:
        path: In the tree of the encoder's parameters.
        shape: In the file.
        transpose: Whether it is a PyTorch ``Linear``'s weight, ``[out, in]``, which a Flax kernel holds transposed.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    transpose: bool = False


class Encoder(Protocol):
    """The sizes and settings of an encoder: a frozen dataclass, hashable, whose fields are of JSON types.

    Attributes:
        family: Its ``model_type`` in ``config.json``, as ``run.json`` names it too.
        special: What its tokenizer writes around a pair.
        extras: Prefixes of arrays in weight files that an encoder has no use for, such as heads of pre-training.
        prefixes: What the names of arrays may begin with, such as ``bert.``.
        vocab_size: Rows of the word embedding.
        hidden_size: Width of the hidden states, D.
        layers: Transformer layers.
        heads: Attention heads of a layer, H.
    """

    family: ClassVar[str]
    special: ClassVar[SpecialTokens]
    extras: ClassVar[tuple[str, ...]]
    prefixes: ClassVar[tuple[str, ...]]
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int

    @property
    def longest(self) -> int:
        """The longest token sequence that it takes, special tokens included."""

    @classmethod
    def from_config(cls, values: Any, **settings: Any) -> Self:
        """Reads the sizes from the checked values of a ``config.json``.

        Args:
            values: A reader of the file that raises InputError for what is missing or impossible.
            **settings: The experiment's own: dropout rates, the input dtype of products, learned segments.
        """

    def module(self, dtype: jnp.dtype, *, remat: bool, name: str | None) -> nn.Module:
        """Builds the module, whose call has ``bert.Bert``'s signature."""

    def arrays(self) -> dict[str, Target]:
        """Returns the name in a weight file, without prefix, -> target, for every array of these sizes."""
