"""The transcriptions in PyTorch, by the model's name in the registry."""

from collections.abc import Callable
from typing import NamedTuple

from tests.baselines import Case
from tests.parity.baselines import (
    aghmn,
    bieru,
    c_lstm,
    cmn,
    cosmic,
    dag_erc,
    dialogue_gcn,
    dialogue_rnn,
    icon,
    mmgcn,
    sdt,
    tl_erc,
)
from tests.parity.baselines.comparison import ToTorch, Transcription


class Transcribed(NamedTuple):
    """A model in PyTorch.

    Attributes:
        module: Builds it.
        to_torch: Maps our parameters to its own.
    """

    module: Callable[[Case], Transcription]
    to_torch: ToTorch


TRANSCRIPTIONS = {
    "c_lstm": Transcribed(c_lstm.CLSTM, c_lstm.to_torch),
    "dialogue_rnn": Transcribed(dialogue_rnn.DialogueRNN, dialogue_rnn.to_torch),
    "tl_erc": Transcribed(tl_erc.TLERC, tl_erc.to_torch),
    "cosmic": Transcribed(cosmic.COSMIC, cosmic.to_torch),
    "cmn": Transcribed(cmn.CMN, cmn.to_torch),
    "icon": Transcribed(icon.ICON, icon.to_torch),
    "aghmn": Transcribed(aghmn.AGHMN, aghmn.to_torch),
    "bieru": Transcribed(bieru.BiERU, bieru.to_torch),
    "dialogue_gcn": Transcribed(dialogue_gcn.DialogueGCN, dialogue_gcn.to_torch),
    "mmgcn": Transcribed(mmgcn.MMGCN, mmgcn.to_torch),
    "sdt": Transcribed(sdt.SDT, sdt.to_torch),
    "dag_erc": Transcribed(dag_erc.DAGERC, dag_erc.to_torch),
}
