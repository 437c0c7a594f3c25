"""DistilBERT: BERT without segments, with half of the layers and names of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.bert_sizes import EXACT_GELU
from dtrm_jax.models.encoders.config_file import ConfigFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilBertConfig(BertConfig):
    """Sizes of a DistilBERT."""

    family: ClassVar[str] = "distilbert"
    prefixes: ClassVar[tuple[str, ...]] = ("distilbert.",)
    extras: ClassVar[tuple[str, ...]] = ("vocab_", "pre_classifier.", "classifier.", "embeddings.position_ids")
    array_names: ClassVar[Mapping[str, str]] = {
        "encoder.layer": "transformer.layer",
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }

    @classmethod
    def from_config(cls, file: ConfigFile, **settings: Any) -> "DistilBertConfig":
        """Reads the sizes; refuses other activations than the exact GELU."""
        file.expect("activation", *EXACT_GELU)
        hidden_size, heads = file.size("dim"), file.size("n_heads")
        file.check_heads("dim", hidden_size, heads)
        sizes = {
            "vocab_size": file.size("vocab_size"),
            "hidden_size": hidden_size,
            "layers": file.size("n_layers"),
            "heads": heads,
            "intermediate_size": file.size("hidden_dim"),
            "max_positions": file.size("max_position_embeddings"),
            "segment_types": 0,
        }
        return cls(**{**settings, **sizes})
