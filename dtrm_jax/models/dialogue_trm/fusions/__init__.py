"""Fusions of modalities by the name that ``config.model.fusion.kind`` gives, in the order of the paper's Table 5."""

from dtrm_jax.models.dialogue_trm.fusions.bilinear import Bilinear
from dtrm_jax.models.dialogue_trm.fusions.fusion import Fusion
from dtrm_jax.models.dialogue_trm.fusions.gmu import GMU
from dtrm_jax.models.dialogue_trm.fusions.mgif import MGIF, GatedConcat, UngatedMGIF
from dtrm_jax.models.dialogue_trm.fusions.mult import MulT
from dtrm_jax.models.dialogue_trm.fusions.simple import Additive, Concat, MaxPooling

FUSIONS: dict[str, type[Fusion]] = {
    "additive": Additive,
    "concat": Concat,
    "max": MaxPooling,
    "bilinear": Bilinear,
    "gmu": GMU,
    "mult": MulT,
    "mgif": MGIF,
    "mgif_without_representation": GatedConcat,
    "mgif_without_prototype": UngatedMGIF,
}
