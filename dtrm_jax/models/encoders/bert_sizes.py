"""The sizes of BERT and of the families that compute as it does: how they are read, and where their weights go."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.models.encoders.family import Encoder, Target, embedding, layer_norm, linear

# What config.json calls the exact GELU. The other GELUs are approximations.
EXACT_GELU = ("gelu", "gelu_python")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertSizes(Encoder):
    """Sizes of a BERT, or of a family that computes as it does.

    Attributes:
        intermediate_size: Width of the feed-forward layer, F.
        max_positions: Rows of the position embedding.
        segment_types: Rows of the segment (token type) embedding. Only 2 or more tell segments apart; the one
            row of RoBERTa's is added to every token.
        layer_norm_eps: Added to the variance in every layer norm.
        first_position: The row of the position embedding that a sequence begins with.
        embedding_size: Width of the embeddings, if they are projected to ``hidden_size``; 0 if they are that wide.
        relative_buckets: Rows of the relative position bias that all layers share; 0 if there is none.
        array_names: A module's path here -> its name in a weight file, where the two differ. Inside a layer, paths are
            relative to the layer.
    """

    array_names: ClassVar[Mapping[str, str]] = {}

    intermediate_size: int
    max_positions: int = 512
    segment_types: int = 2
    layer_norm_eps: float = 1e-12
    first_position: int = 0
    embedding_size: int = 0
    relative_buckets: int = 0

    @property
    def longest(self) -> int:
        """The longest token sequence: RoBERTa's 514 positions are 512."""
        return self.max_positions - self.first_position

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "BertSizes":
        """Reads the sizes; refuses decoders, relative positions and other activations than the exact GELU."""
        file.expect("hidden_act", *EXACT_GELU)
        file.expect("position_embedding_type", "absolute", absent="absolute")
        file.expect("is_decoder", False, absent=False)
        sizes = {
            "vocab_size": file.size("vocab_size"),
            "hidden_size": file.size("hidden_size"),
            "layers": file.size("num_hidden_layers"),
            "heads": file.size("num_attention_heads"),
            "intermediate_size": file.size("intermediate_size"),
            "max_positions": file.size("max_position_embeddings"),
            "layer_norm_eps": file.small("layer_norm_eps", 1e-12),  # the oldest files have none and mean BERT's
            **cls._own_sizes(file),
        }
        file.check_heads("hidden_size", sizes["hidden_size"], sizes["heads"])
        if sizes["segment_types"] > 1:
            settings["learned_segments"] = False
        return cls(**{**settings, **sizes})

    @classmethod
    def _own_sizes(cls, file: ConfigFile) -> dict[str, Any]:
        """Returns what the family reads besides the sizes that all share."""
        return {"segment_types": file.size("type_vocab_size")}

    def arrays(self) -> dict[str, Target]:
        """See ``Encoder.arrays``."""
        width, wide = self.hidden_size, self.intermediate_size
        embedded = self.embedding_size or width
        targets: dict[str, Target] = {}
        for table, rows in (
            ("word_embeddings", self.vocab_size),
            ("position_embeddings", self.max_positions),
            ("token_type_embeddings", self.segment_types),
        ):
            if rows:
                targets |= embedding(f"embeddings.{table}", ("embeddings", table), rows, embedded)
        targets |= layer_norm("embeddings.LayerNorm", ("embeddings", "LayerNorm"), embedded)
        if self.embedding_size:
            targets |= linear("embeddings_project", ("embeddings_project",), embedded, width)
        if self.relative_buckets:
            path = ("encoder", "relative_attention_bias")
            targets |= embedding("encoder.relative_attention_bias", path, self.relative_buckets, self.heads)
        for index in range(self.layers):
            for module in ("attention.self.query", "attention.self.key", "attention.self.value"):
                targets |= linear(*self._in_layer(index, module), width, width)
            targets |= linear(*self._in_layer(index, "attention.output.dense"), width, width)
            targets |= layer_norm(*self._in_layer(index, "attention.output.LayerNorm"), width)
            targets |= linear(*self._in_layer(index, "intermediate.dense"), width, wide)
            targets |= linear(*self._in_layer(index, "output.dense"), wide, width)
            targets |= layer_norm(*self._in_layer(index, "output.LayerNorm"), width)
        return targets

    def _in_layer(self, index: int, module: str) -> tuple[str, tuple[str, ...]]:
        """Returns the name in a weight file and the path of a module in a layer."""
        layers = self.array_names.get("encoder.layer", "encoder.layer")
        name = f"{layers}.{index}.{self.array_names.get(module, module)}"
        return name, ("encoder", "layer", str(index), *module.split("."))
