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
            "relative_attention_num_buckets": 32,
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
    "deberta-v2": Family(
        {
            **COMMON,
            "model_type": "deberta-v2",
            "max_position_embeddings": 33,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 4,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": "p2c|c2p",
            "position_biased_input": False,
        },
        masked="DebertaV2ForMaskedLM",
    ),
    "modernbert": Family(
        {
            "model_type": "modernbert",
            "hidden_activation": "gelu",
            "vocab_size": 29,
            "hidden_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "intermediate_size": 10,
            "max_position_embeddings": 33,
            "global_attn_every_n_layers": 2,
            "local_attention": 4,
            "global_rope_theta": 160000.0,
            "local_rope_theta": 10000.0,
            "norm_eps": 1e-5,
            "norm_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
            "pad_token_id": 0,
        },
        masked="ModernBertForMaskedLM",
    ),
}
