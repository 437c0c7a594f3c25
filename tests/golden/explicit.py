"""Weights and inputs from a formula, so that goldens depend on no random generator; NumPy alone.

Sizes are pairwise distinct where they can be, so that swapped axes show.
"""

from typing import NamedTuple

import numpy as np

BERT_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}
DEBERTA_V2_CONFIG = {
    "model_type": "deberta-v2",
    "hidden_act": "gelu",
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-7,
    "relative_attention": True,
    "position_buckets": 4,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": False,
    "pos_att_type": "p2c|c2p",
    "position_biased_input": False,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
}
MODERNBERT_CONFIG = {
    "model_type": "modernbert",
    "hidden_activation": "gelu",
    "vocab_size": 29,
    "hidden_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "max_position_embeddings": 16,
    "global_attn_every_n_layers": 3,
    "local_attention": 4,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "pad_token_id": 0,
}
WIDTH, LAYERS, HEADS, FEED_FORWARD, CLASSES = 12, 2, 4, 22, 5
WINDOW = 3
TURNS = (5, 9, 3, 7)  # of each conversation of the intra-modal goldens


class Sequence(NamedTuple):
    """A token sequence."""

    token_ids: tuple[int, ...]
    first_segment: int

    @property
    def segment_ids(self) -> tuple[int, ...]:
        return tuple(int(index >= self.first_segment) for index in range(len(self.token_ids)))


# Two conversations, of three turns and of two; the labels of the turns, one of them missing.
SEQUENCES = (
    Sequence((2, 11, 7, 3), 4),
    Sequence((2, 5, 3, 11, 7, 3), 3),
    Sequence((2, 28, 19, 8, 13, 3, 5, 3), 6),
    Sequence((2, 3), 2),
    Sequence((2, 17, 21, 3, 4, 9, 3), 4),
)
DIALOGUES = (3, 2)
LABELS = (4, -1, 0, 2, 4)


def array(shape: tuple[int, ...], salt: int) -> np.ndarray:
    """Returns float32 numbers between -1 and 1 without a pattern: a sine whose frequency rises."""
    k = np.arange(np.prod(shape), dtype=np.float64)
    return np.sin(0.37 * k * k + k + 1.7 * salt).reshape(shape).astype(np.float32)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Returns an array for each of torch's names: layer norms' scales near 1, the rest of a usual size."""
    result = {}
    for salt, (name, shape) in enumerate(sorted(shapes.items())):
        if len(shape) == 2:
            result[name] = np.float32(1.8 * shape[-1] ** -0.5) * array(shape, salt)
        elif "norm" in name.lower() and name.endswith("weight"):
            result[name] = np.float32(1) + np.float32(0.3) * array(shape, salt)
        else:
            result[name] = np.float32(0.3) * array(shape, salt)
    return result


def bert_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of PyTorch's BertModel of ``BERT_CONFIG``, without pooling layer."""
    width, wide = BERT_CONFIG["hidden_size"], BERT_CONFIG["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (BERT_CONFIG["vocab_size"], width),
        "embeddings.position_embeddings.weight": (BERT_CONFIG["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (BERT_CONFIG["type_vocab_size"], width),
        **_norm("embeddings.LayerNorm", width),
    }
    for index in range(BERT_CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _linear(f"{layer}.attention.{name}", width, width)
        shapes |= _linear(f"{layer}.intermediate.dense", width, wide)
        shapes |= _linear(f"{layer}.output.dense", wide, width)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm", width) | _norm(f"{layer}.output.LayerNorm", width)
    return shapes


def transformer_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of ``torch.nn.TransformerEncoder``."""
    shapes = {}
    for index in range(LAYERS):
        layer = f"layers.{index}"
        shapes[f"{layer}.self_attn.in_proj_weight"] = (3 * WIDTH, WIDTH)
        shapes[f"{layer}.self_attn.in_proj_bias"] = (3 * WIDTH,)
        shapes |= _linear(f"{layer}.self_attn.out_proj", WIDTH, WIDTH)
        shapes |= _linear(f"{layer}.linear1", WIDTH, FEED_FORWARD) | _linear(f"{layer}.linear2", FEED_FORWARD, WIDTH)
        shapes |= _norm(f"{layer}.norm1", WIDTH) | _norm(f"{layer}.norm2", WIDTH)
    return shapes


def discriminator_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the discriminator's two Linears."""
    return _linear("hidden", WIDTH, WIDTH) | _linear("output", WIDTH, CLASSES)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
