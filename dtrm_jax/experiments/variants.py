"""The rows of the paper's tables as changes of a config. A row that stands in several tables is one variant.

A row is what it is called, whatever model or fusion the config has: DialogueTRM, whose modalities MGIF joins.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dtrm_jax.conversation import MODALITIES
from dtrm_jax.models.dialogue_trm import fusions


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to change an experiment.

    Attributes:
        name: Short, for file names and ``--only``.
        shown: Its name in tables.
        changes: Setting's path in the config -> value.
    """

    name: str
    shown: str
    changes: Mapping[str, Any] = dataclasses.field(compare=False)


def of_modalities(name: str, shown: str, modalities: str, dependent: str, **changes: Any) -> Variant:
    """Returns a variant of DialogueTRM that takes these modalities, by MGIF if they are several.

    Args:
        name: As in ``Variant``.
        shown: As in ``Variant``.
        modalities: Letters, as ``config.model.modalities``.
        dependent: Those of them whose context setting is dependent; the others are context-free. A context-free
            utterance has no indi-context either.
        **changes: Further settings, with two underscores for each dot.
    """
    context = {
        f"model.context.{MODALITIES[letter]}": "dependent" if letter in dependent else "free" for letter in modalities
    }
    if "u" in modalities:
        context["tokens.indi_context"] = "u" in dependent
    further = {path.replace("__", "."): value for path, value in changes.items()}
    model = {"model.architecture": "dialogue_trm", "model.modalities": modalities}
    if len(modalities) > 1:
        model["model.fusion.kind"] = "mgif"
    return Variant(name, shown, {**model, **context, **further})


def in_context(modalities: str, dependent: str) -> Variant:
    """Returns a cell of Table 4, which may be one of the two models of the paper.

    Args:
        modalities: Letters, as ``config.model.modalities``.
        dependent: Those with context: none, all, all but the utterance, or the utterance alone, as the paper chooses.
    """
    others = modalities.replace("u", "")
    # Of equal keys the last counts: the acoustic alone is "a-dep", not "a-swapped".
    ending = {others: "-swapped", modalities: "-dep", "u": "", "": "-free"}[dependent]
    model = _MODELS.get(modalities) or f"DialogueTRM-M ({spelled(modalities)})"
    shown = contexts_of(modalities, dependent) if ending else model
    return of_modalities(f"{modalities}{ending}", shown, modalities, dependent)


def contexts_of(modalities: str, dependent: str) -> str:
    """Returns the context settings as Table 4 names them: ``"a free, u dep"``."""
    return ", ".join(f"{one} {'dep' if one in dependent else 'free'}" for one in "avu" if one in modalities)


def full(modalities: str) -> Variant:
    """Returns the paper's choice for these modalities: context for the utterance alone, whatever there is besides."""
    return in_context(modalities, "u" if "u" in modalities else "")


def with_fusion(modalities: str, kind: str) -> Variant:
    """Returns the same with a fusion of Table 5; with MGIF it is ``full``."""
    if kind == "mgif":
        return full(modalities)
    name, dependent = f"{modalities}-{kind.replace('_', '-')}", "u" if "u" in modalities else ""
    return of_modalities(name, fusions.FUSIONS[kind].title, modalities, dependent, model__fusion__kind=kind)


def spelled(modalities: str) -> str:
    """Returns the names of modalities: ``"utterance, acoustic"``."""
    return ", ".join(MODALITIES[letter] for letter in modalities)


_MODELS = {"u": "DialogueTRM-U", "uav": "DialogueTRM-M"}
U, M, U_FREE = full("u"), full("uav"), in_context("u", "")

# Table 3, one step after the other. In the first row there is neither context nor a Transformer above the encoder.
_NO_LAYERS = {"model__intra_modal__layers": 0}
BERT = of_modalities("bert", "BERT alone", "u", "", **_NO_LAYERS)
WITHOUT_TRANSFORMER = of_modalities("u-no-transformer", "remove transformer", "u", "u", **_NO_LAYERS)
WITHOUT_SEGMENTS = of_modalities(
    "u-no-segments", "remove segment embedding", "u", "u", **_NO_LAYERS, tokens__segments=False
)
WITHOUT_SEPARATOR = of_modalities(
    "u-no-separator", "remove [SEP] tokens", "u", "u", **_NO_LAYERS, tokens__segments=False, tokens__separator=False
)
