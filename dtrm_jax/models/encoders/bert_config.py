"""The sizes of a BERT: what the encoder module is built from and what a folder of weights must agree with."""

import dataclasses
from typing import Any

import flax.linen as nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes and settings of a BERT encoder; hashable, so that it can be a module's static field.

    Attributes:
        vocab_size: Rows of the word embedding.
        hidden_size: Width of the hidden states, D; a multiple of ``heads``.
        layers: Transformer layers.
        heads: Attention heads of a layer, H.
        intermediate_size: Width of the feed-forward layer, F.
        max_positions: Rows of the position embedding: the longest token sequence.
        segment_types: Rows of the segment (token type) embedding.
        layer_norm_eps: Added to the variance in every layer norm.
        dropout: Rate on the embeddings and on the outputs of both halves of a layer.
        attention_dropout: Rate on the attention weights.
        products: Type that matrix products take their inputs in: "float32" or "bfloat16".
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int = 512
    segment_types: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float
    attention_dropout: float
    products: str = "float32"

    def module(self, dtype: Any, *, remat: bool, name: str | None) -> nn.Module:
        """Builds the module."""
        from dtrm_jax.models.encoders.bert import Bert

        return Bert(self, dtype, remat, name=name)
