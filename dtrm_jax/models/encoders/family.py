"""The interface of a family of utterance encoders; the family's file in this folder holds everything about it.

A family is a frozen dataclass of sizes, an ``Encoder``. It says how its ``config.json`` is read, which special tokens
its tokenizer writes around a pair of texts, which module computes it and where each array of its weight file goes.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
from jax.typing import DTypeLike

from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.special_tokens import SpecialTokens


class Target(NamedTuple):
    """Where one array of a weight file goes in the parameter tree.

    Attributes:
        path: In the tree of the encoder's parameters.
        shape: In the file.
        transpose: Whether it is a PyTorch ``Linear``'s weight, ``[out, in]``, which a Flax kernel holds transposed.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    transpose: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoder:
    """The sizes and settings of an encoder, hashable, of JSON types.

    Attributes:
        family: Its ``model_type`` in ``config.json``, which is also its name in ``run.json``.
        special: The tokens that its tokenizer writes around a pair of texts.
        prefixes: Possible beginnings of the names of arrays in weight files, such as ``bert.``.
        extras: Beginnings of the names of arrays that an encoder has no use for, such as heads of pre-training.
        vocab_size: Rows of the word embedding.
        hidden_size: Width of the hidden states, D; a multiple of ``heads``.
        layers: Transformer layers.
        heads: Attention heads of a layer, H.
        dropout: Rate on hidden states.
        attention_dropout: Rate on attention weights.
        products: Input dtype of matrix products: "float32" or "bfloat16".
        learned_segments: Whether a family without segment embeddings has learned ones, which begin as zeros.
    """

    family: ClassVar[str]
    special: ClassVar[SpecialTokens]
    prefixes: ClassVar[tuple[str, ...]]
    extras: ClassVar[tuple[str, ...]]

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    dropout: float
    attention_dropout: float
    products: str = "float32"
    learned_segments: bool = False

    @property
    def longest(self) -> int:
        """The longest token sequence that it takes, special tokens included."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "Encoder":
        """Reads the sizes from a ``config.json``.

        Args:
            file: The file.
            **settings: The experiment's own: ``dropout``, ``attention_dropout``, ``products``, ``learned_segments``.

        Raises:
            InputError: A size is missing or impossible, or the file describes a variant that is not implemented.
        """
        raise NotImplementedError

    def module(self, dtype: DTypeLike, *, remat: bool, name: str | None) -> nn.Module:
        """Builds the module, whose call has the signature of ``bert.Bert``'s.

        Args:
            dtype: Of the computation; parameters are float32.
            remat: Recompute each layer in the backward pass.
            name: Of its parameters in the model that it is part of.
        """
        raise NotImplementedError

    def arrays(self) -> dict[str, Target]:
        """Returns the name in a weight file, without prefix, -> target, for every array of these sizes."""
        raise NotImplementedError


def embedding(name: str, path: tuple[str, ...], rows: int, width: int) -> dict[str, Target]:
    """Returns the target of an embedding's table ``[rows, D]``."""
    return {f"{name}.weight": Target((*path, "embedding"), (rows, width))}


def linear(name: str, path: tuple[str, ...], inputs: int, outputs: int, *, bias: bool = True) -> dict[str, Target]:
    """Returns the targets of a linear layer's kernel and bias."""
    targets = {f"{name}.weight": Target((*path, "kernel"), (outputs, inputs), transpose=True)}
    return targets | ({f"{name}.bias": Target((*path, "bias"), (outputs,))} if bias else {})


def layer_norm(name: str, path: tuple[str, ...], width: int, *, bias: bool = True) -> dict[str, Target]:
    """Returns the targets of a layer norm's scale and bias."""
    targets = {f"{name}.weight": Target((*path, "scale"), (width,))}
    return targets | ({f"{name}.bias": Target((*path, "bias"), (width,))} if bias else {})
