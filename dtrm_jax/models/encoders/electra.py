"""ELECTRA's discriminator: BERT whose embeddings may be narrower than its hidden states."""

import dataclasses
from typing import Any, ClassVar

from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.config_file import ConfigFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElectraConfig(BertConfig):
    """Sizes of an ELECTRA."""

    family: ClassVar[str] = "electra"
    prefixes: ClassVar[tuple[str, ...]] = ("electra.",)
    extras: ClassVar[tuple[str, ...]] = (
        "discriminator_predictions.",
        "generator_",
        "classifier.",
        "embeddings.position_ids",
    )

    @classmethod
    def _own_sizes(cls, file: ConfigFile) -> dict[str, Any]:
        embedding_size = file.size("embedding_size")
        return {
            "segment_types": file.size("type_vocab_size"),
            "embedding_size": 0 if embedding_size == file.size("hidden_size") else embedding_size,
        }
