"""RoBERTa and XLM-RoBERTa: BERT without segments, whose positions begin after that of the padding token."""

import dataclasses
from typing import Any, ClassVar

from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.special_tokens import ROBERTA_TOKENS, SpecialTokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """Sizes of a RoBERTa."""

    family: ClassVar[str] = "roberta"
    special: ClassVar[SpecialTokens] = ROBERTA_TOKENS
    prefixes: ClassVar[tuple[str, ...]] = ("roberta.",)
    extras: ClassVar[tuple[str, ...]] = ("pooler.", "lm_head.", "classifier.", "embeddings.position_ids")

    @classmethod
    def _own_sizes(cls, file: ConfigFile) -> dict[str, Any]:
        return {"segment_types": file.size("type_vocab_size"), "first_position": file.size("pad_token_id", 0) + 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class XlmRobertaConfig(RobertaConfig):
    """Sizes of an XLM-RoBERTa, which differs from RoBERTa in its vocabulary alone."""

    family: ClassVar[str] = "xlm-roberta"
