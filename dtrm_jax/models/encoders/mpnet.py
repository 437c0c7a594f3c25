"""MPNet: RoBERTa's positions, no segments, and a relative position bias that all layers share."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.special_tokens import SpecialTokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class MpnetConfig(BertConfig):
    """Sizes of an MPNet."""

    family: ClassVar[str] = "mpnet"
    # Its vocabulary is BERT's, with its unknown token, and RoBERTa's other special tokens.
    special: ClassVar[SpecialTokens] = SpecialTokens(
        first="<s>", between=("</s>", "</s>"), last="</s>", padding="<pad>", unknown="[UNK]"
    )
    prefixes: ClassVar[tuple[str, ...]] = ("mpnet.",)
    extras: ClassVar[tuple[str, ...]] = ("pooler.", "lm_head.", "classifier.", "embeddings.position_ids")
    array_names: ClassVar[Mapping[str, str]] = {
        "attention.self.query": "attention.attn.q",
        "attention.self.key": "attention.attn.k",
        "attention.self.value": "attention.attn.v",
        "attention.output.dense": "attention.attn.o",
        "attention.output.LayerNorm": "attention.LayerNorm",
    }

    @classmethod
    def _own_sizes(cls, file: ConfigFile) -> dict[str, Any]:
        # In the model's own code the padding token is number 1, after which positions begin, and there are 32 buckets,
        # whatever a file says.
        return {
            "segment_types": 0,
            "first_position": 2,
            "relative_buckets": file.expect("relative_attention_num_buckets", 32),
        }
