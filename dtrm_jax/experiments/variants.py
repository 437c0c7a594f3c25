"""The rows of the paper's tables as changes of a config. A row that stands in several tables is one variant."""

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
    """Returns a variant of these modalities.

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
    return Variant(name, shown, {"model.modalities": modalities, **context, **further})


# The two models of the paper. Its DialogueTRM-M has no visual features on MELD.
U = of_modalities("u", "DialogueTRM-U", "u", "u")
M = of_modalities("uav", "DialogueTRM-M", "uav", "u")
M_WITHOUT_VISUAL = of_modalities("ua", "DialogueTRM-M (utterance, acoustic)", "ua", "u")
TEXT_AND_FACE = of_modalities("uv", "utterance, visual", "uv", "u")

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

# Table 4; "free" and "dep" are the paper's dotted and barred letters.
U_FREE = of_modalities("u-free", "u free", "u", "")
A_FREE, A_DEPENDENT = of_modalities("a-free", "a free", "a", ""), of_modalities("a-dep", "a dep", "a", "a")
V_FREE, V_DEPENDENT = of_modalities("v-free", "v free", "v", ""), of_modalities("v-dep", "v dep", "v", "v")
AV_FREE = of_modalities("av-free", "a free, v free", "av", "")
AV_DEPENDENT = of_modalities("av-dep", "a dep, v dep", "av", "av")
UAV_FREE = of_modalities("uav-free", "a free, v free, u free", "uav", "")
UAV_SWAPPED = of_modalities("uav-swapped", "a dep, v dep, u free", "uav", "av")
UAV_DEPENDENT = of_modalities("uav-dep", "a dep, v dep, u dep", "uav", "uav")

# Table 5: every fusion but MGIF, which is ``M``.
FUSIONS = {
    kind: of_modalities(f"uav-{kind.replace('_', '-')}", fusion.title, "uav", "u", model__fusion__kind=kind)
    for kind, fusion in fusions.FUSIONS.items()
    if kind != "mgif"
}
