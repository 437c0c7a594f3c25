"""Every encoder family with tiny sizes, as its own ``config.json`` writes them; a new family is one entry.

Sizes are pairwise distinct where they can be, so that swapped axes show.
"""

from typing import Any, NamedTuple

COMMON = {
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-7,
}


class Family(NamedTuple):
    """A family.

    Attributes:
        config: Its ``config.json``.
        masked: The class of transformers with the head of masked language modelling, and so with a prefix.
        takes_segments: Whether transformers' class takes segments.
    """

    config: dict[str, Any]
    masked: str
    takes_segments: bool = False


FAMILIES = {
    "bert": Family(
        {**COMMON, "model_type": "bert", "max_position_embeddings": 33, "type_vocab_size": 2},
        masked="BertForMaskedLM",
        takes_segments=True,
    ),
    "roberta": Family(
        {**COMMON, "model_type": "roberta", "max_position_embeddings": 35, "type_vocab_size": 1, "pad_token_id": 1},
        masked="RobertaForMaskedLM",
    ),
    "xlm-roberta": Family(
        {**COMMON, "model_type": "xlm-roberta", "max_position_embeddings": 35, "type_vocab_size": 1, "pad_token_id": 1},
        masked="XLMRobertaForMaskedLM",
    ),
    "mpnet": Family(
        {
            **COMMON,
            "model_type": "mpnet",
            "max_position_embeddings": 35,
            "relative_attention_num_buckets": 8,
            "pad_token_id": 1,
        },
        masked="MPNetForMaskedLM",
    ),
    "distilbert": Family(
        {
            "model_type": "distilbert",
            "vocab_size": 29,
            "dim": 12,
            "n_layers": 2,
            "n_heads": 3,
            "hidden_dim": 20,
            "activation": "gelu",
            "max_position_embeddings": 33,
        },
        masked="DistilBertForMaskedLM",
    ),
    "electra": Family(
        {
            **COMMON,
            "model_type": "electra",
            "max_position_embeddings": 33,
            "type_vocab_size": 2,
            "embedding_size": 10,
        },
        masked="ElectraForMaskedLM",
        takes_segments=True,
    ),
}
