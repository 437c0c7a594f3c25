"""Batch to logits: the models, by the name that ``config.model.architecture`` gives."""

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.errors import chosen
from dtrm_jax.models.baselines.aghmn import AGHMN
from dtrm_jax.models.baselines.bieru import BiERU
from dtrm_jax.models.baselines.c_lstm import CLSTM
from dtrm_jax.models.baselines.cmn import CMN
from dtrm_jax.models.baselines.cosmic import COSMIC
from dtrm_jax.models.baselines.dag_erc import DAGERC
from dtrm_jax.models.baselines.dialogue_gcn import DialogueGCN
from dtrm_jax.models.baselines.dialogue_rnn import DialogueRNN
from dtrm_jax.models.baselines.hred import HRED
from dtrm_jax.models.baselines.icon import ICON
from dtrm_jax.models.baselines.mmgcn import MMGCN
from dtrm_jax.models.baselines.sdt import SDT
from dtrm_jax.models.baselines.tl_erc import TLERC
from dtrm_jax.models.dialogue_trm.model import DialogueTRM
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.interface import Model

ARCHITECTURES: dict[str, type[Model]] = {
    "dialogue_trm": DialogueTRM,
    "c_lstm": CLSTM,
    "dialogue_rnn": DialogueRNN,
    "cosmic": COSMIC,
    "cmn": CMN,
    "icon": ICON,
    "aghmn": AGHMN,
    "bieru": BiERU,
    "tl_erc": TLERC,
    "hred": HRED,
    "dialogue_gcn": DialogueGCN,
    "mmgcn": MMGCN,
    "sdt": SDT,
    "dag_erc": DAGERC,
}


def architecture(config: Config) -> type[Model]:
    """Returns the class of the configured model.

    Raises:
        InputError: There is no such model, or settings that it refuses before any data is read.
    """
    found = chosen(ARCHITECTURES, config.model.architecture, "config.model.architecture")
    found.check(config)
    return found


def build_model(config: Config, encoder: Encoder | None, outputs: int, shape: PackShape) -> Model:
    """Builds the configured model; see ``Model.build``."""
    return architecture(config).build(config, encoder=encoder, outputs=outputs, shape=shape)
