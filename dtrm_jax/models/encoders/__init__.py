"""Utterance encoders: token sequences to states, by the ``model_type`` of an encoder's ``config.json``.

A new family is one file that subclasses ``family.Encoder`` and one line here.
"""

import dataclasses
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.config_file import ConfigFile
from dtrm_jax.models.encoders.deberta_v2 import DebertaV2Config
from dtrm_jax.models.encoders.distilbert import DistilBertConfig
from dtrm_jax.models.encoders.electra import ElectraConfig
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.modernbert import ModernBertConfig
from dtrm_jax.models.encoders.mpnet import MpnetConfig
from dtrm_jax.models.encoders.roberta import RobertaConfig, XlmRobertaConfig

# By the name that a family has in ``config.json``.
FAMILIES: dict[str, type[Encoder]] = {
    encoder.family: encoder
    for encoder in (
        BertConfig,
        RobertaConfig,
        XlmRobertaConfig,
        MpnetConfig,
        DistilBertConfig,
        ElectraConfig,
        DebertaV2Config,
        ModernBertConfig,
    )
}


def read_encoder(folder: Path, **settings: Any) -> Encoder:
    """Reads the sizes of a pretrained encoder from its folder.

    Args:
        folder: As ``hub.locate`` returns it.
        **settings: The experiment's own: ``dropout``, ``attention_dropout``, ``products``, ``learned_segments``.

    Raises:
        InputError: ``config.json`` is missing or damaged, or of a family or variant that is not implemented.
    """
    file = ConfigFile(folder / "config.json")
    found = file.values.get("model_type")
    if not isinstance(found, str) or found not in FAMILIES:
        raise InputError(f"{file.path}: model_type: expected one of {', '.join(FAMILIES)}, found {found!r}")
    return FAMILIES[found].from_config(file, **settings)


def to_dict(encoder: Encoder) -> dict[str, Any]:
    """Returns the family and the sizes of an encoder as JSON types."""
    return {"family": encoder.family, **dataclasses.asdict(encoder)}


def from_dict(values: dict[str, Any]) -> Encoder:
    """Inverts ``to_dict``; what names no family, as before there were several, is a BERT.

    Raises:
        KeyError: There is no such family.
        TypeError: These are not its sizes.
    """
    sizes = dict(values)
    return FAMILIES[sizes.pop("family", "bert")](**sizes)
