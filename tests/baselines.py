"""The baselines with tiny settings, for tests that hold for all of them, and packs of features to run them on.

A new model is one entry of ``CASES`` for each of its kinds; its transcription in PyTorch stands in
``tests/parity/baselines/``.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import Config
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import build_model
from dtrm_jax.models.interface import Model
from tests.factories import LABELS, tiny_config
from tests.golden import explicit

# Dimensions of the features, pairwise distinct.
SIZES = {"utterance": 7, "acoustic": 5, "visual": 3, "commonsense": 10}
# Conversations of uneven lengths, as the speakers of their turns: two, five or three of them, or a single turn.
CONVERSATIONS = ("ABABBAB", "A", "ABCADEBCEDAAB", "ABBAABBBABA", "ABC")
SLOTS = 48  # of most packs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A baseline with some settings.

    Attributes:
        architecture: Its name in the registry.
        settings: As the keywords of ``factories.tiny_config``.
        modalities: As ``config.model.modalities``.
        causal: Whether no turn sees a later one.
        streams: Whether it can follow a live conversation.
        knows_speakers: Whether it matters who speaks.
        spread: Of the weights of tests. It is less for a model whose states would grow with the conversation, and
            roundings with them.
    """

    architecture: str
    settings: Mapping[str, Any]
    modalities: str = "u"
    causal: bool
    streams: bool = False
    knows_speakers: bool = False
    spread: float = 2.5

    @property
    def names(self) -> list[str]:
        """Of the features of its modalities."""
        return [name for name in SIZES if name[0] in self.modalities]

    @property
    def inputs(self) -> int:
        """How many numbers these are."""
        return sum(SIZES[name] for name in self.names)

    def config(self, **settings: Any) -> Config:
        """Returns its config, with further settings."""
        own = {f"model__{self.architecture}__{name}": value for name, value in self.settings.items()}
        model = {"model__architecture": self.architecture, "model__utterance": "features"}
        return tiny_config(**model, model__modalities=self.modalities, **own, **settings)

    def model(self, slots: int) -> Model:
        """Returns the model for packs of features with so many slots."""
        config = self.config()
        features = tuple((name, SIZES[name]) for name in config.model.feature_modalities)
        return build_model(config, None, len(LABELS), PackShape((), slots, features=features))


_MEMORIES = {"width": 6, "window": 9, "dropout": 0.0}
_C_LSTM = {"layers": 2, "width": 6, "hidden": 9, "dropout": 0.0}
_DIALOGUE_RNN = {
    "global_width": 6,
    "party_width": 5,
    "emotion_width": 4,
    "hidden": 8,
    "window": 20,
    "attention_window": 20,
    "recurrent_dropout": 0.0,
    "state_dropout": 0.0,
    "dropout": 0.0,
}
_COSMIC = {name: value for name, value in _DIALOGUE_RNN.items() if name != "state_dropout"}
_ONE_WAY = {"bidirectional": False, "attention": "none"}
_BIERU = {"width": 6, "tensor_dropout": 0.0, "dropout": 0.0}
_DIALOGUE_GCN = {
    "width": 3,
    "past": 3,
    "future": 2,
    "bases": 9,
    "hidden": 5,
    "attention_window": 20,
    "dropout": 0.0,
}
_MMGCN = {"width": 3, "speaker_width": 2, "speakers": 3, "hidden": 5, "layers": 2, "window": 20, "dropout": 0.0}
_MMGCN |= {"context_layers": 1, "cross_modal": 0.7}
_SDT = {"width": 6, "heads": 2, "speakers": 3, "window": 20, "dropout": 0.0, "temperature": 2.0, "student_weight": 0.5}
CASES = {
    "c_lstm": Case(architecture="c_lstm", settings=_C_LSTM | {"bidirectional": False}, causal=True, streams=True),
    "c_lstm-both": Case(architecture="c_lstm", settings=_C_LSTM, causal=False),
    "c_lstm-attention": Case(
        architecture="c_lstm",
        settings=_C_LSTM | {"bidirectional": False, "attention": "general2", "attention_window": 20},
        causal=False,
    ),
    "c_lstm-m": Case(
        architecture="c_lstm", settings=_C_LSTM | {"hierarchical": True, "layers": 1}, modalities="uav", causal=False
    ),
    "dialogue_rnn": Case(
        architecture="dialogue_rnn",
        settings=_DIALOGUE_RNN | _ONE_WAY | {"activation": "tanh"},
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
    # A window shorter than the conversations, and more speakers than parties.
    "dialogue_rnn-listener": Case(
        architecture="dialogue_rnn",
        settings=_DIALOGUE_RNN | _ONE_WAY | {"active_listener": True, "context": "simple", "window": 4, "parties": 3},
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
    "dialogue_rnn-both": Case(
        architecture="dialogue_rnn", settings=_DIALOGUE_RNN, modalities="ua", causal=False, knows_speakers=True
    ),
    "tl_erc": Case(
        architecture="tl_erc", settings={"width": 6, "dropout": 0.0}, modalities="ua", causal=True, streams=True
    ),
    "cosmic": Case(
        architecture="cosmic",
        settings=_COSMIC | _ONE_WAY | {"active_listener": False, "context": "simple"},
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
    "cosmic-both": Case(
        architecture="cosmic",
        settings=_COSMIC | {"window": 5, "parties": 3},
        modalities="ua",
        causal=False,
        knows_speakers=True,
    ),
    "cosmic-ablation": Case(
        architecture="cosmic",
        settings=_COSMIC | _ONE_WAY | {"commonsense": False},
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
    "cmn": Case(
        architecture="cmn", settings=_MEMORIES, modalities="ua", causal=True, streams=True, knows_speakers=True
    ),
    "icon": Case(architecture="icon", settings=_MEMORIES, causal=True, streams=True, knows_speakers=True),
    "aghmn-bif": Case(architecture="aghmn", settings=_MEMORIES, causal=True, streams=True),
    "aghmn-unif": Case(
        architecture="aghmn",
        settings=_MEMORIES | {"fusion": "unif", "summary": "biagru", "hops": 2},
        causal=True,
        streams=True,
    ),
    "bieru-lc": Case(architecture="bieru", settings=_BIERU, causal=False),
    "bieru-gc": Case(architecture="bieru", settings=_BIERU | {"context": "global"}, modalities="uv", causal=False),
    # Fewer relations than bases, and more of them.
    "dialogue_gcn": Case(architecture="dialogue_gcn", settings=_DIALOGUE_GCN, causal=False, knows_speakers=True),
    "dialogue_gcn-bases": Case(
        architecture="dialogue_gcn",
        settings=_DIALOGUE_GCN
        | {"speakers": 3, "recurrence": "gru", "context_layers": 1, "nodal_attention": False, "past": 10},
        modalities="ua",
        causal=False,
        knows_speakers=True,
    ),
    "mmgcn": Case(architecture="mmgcn", settings=_MMGCN, modalities="uav", causal=False, knows_speakers=True),
    "mmgcn-u": Case(architecture="mmgcn", settings=_MMGCN, causal=False, knows_speakers=True),
    "sdt": Case(architecture="sdt", settings=_SDT, modalities="uav", causal=False, knows_speakers=True),
    "sdt-fixed": Case(
        architecture="sdt", settings=_SDT | {"gates": "fixed"}, modalities="ua", causal=False, knows_speakers=True
    ),
    "dag_erc": Case(
        architecture="dag_erc",
        settings={"layers": 2, "width": 5, "window": 13, "dropout": 0.0},
        spread=1.2,
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
    "dag_erc-farther": Case(
        architecture="dag_erc",
        settings={"layers": 1, "width": 5, "same_speaker": 2, "window": 4, "dropout": 0.0},
        modalities="av",
        spread=1.2,
        causal=True,
        streams=True,
        knows_speakers=True,
    ),
}


def explicit_params(model: Model, spread: float) -> Any:
    """Returns parameters from a formula, of a usual size, so that goldens depend on no random generator."""
    flat = flax.traverse_util.flatten_dict(parameter_shapes(model), sep="/")
    values = {}
    for salt, (name, leaf) in enumerate(sorted(flat.items())):
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 11
        values[name] = np.float32(spread * fan_in**-0.5) * explicit.array(leaf.shape, salt)
    return flax.traverse_util.unflatten_dict(values, sep="/")


def pack(
    conversations: Sequence[str], slots: int = SLOTS, *, fill: float = 0.0, sizes: Mapping[str, int] = SIZES
) -> Batch:
    """Returns a pack of conversations; a turn's features depend on its conversation's speakers and its place alone.

    Args:
        conversations: The speakers of the turns, a letter each.
        slots: Of the pack; the rest are unused.
        fill: Features of unused slots.
    """
    turns = [len(speakers) for speakers in conversations]
    numbers = [[_number(speakers, place) for place in range(len(speakers))] for speakers in conversations]
    used = sum(turns)

    def laid_out(values: Sequence[Any], unused: float) -> np.ndarray:
        return np.concatenate([np.asarray(values, np.int32), np.full(slots - used, unused, np.int32)])

    features = {name: np.full((slots, size), fill, np.float32) for name, size in SIZES.items()}
    starts = np.cumsum([0, *turns])
    for salt, (name, size) in enumerate(SIZES.items()):
        for start, n in zip(starts, turns, strict=False):
            features[name][start : start + n] = explicit.array((n, size), 10 * n + salt)
    label_U = laid_out(np.arange(used) % len(LABELS), -1)
    empty_T = np.zeros(0, np.int32)
    return Batch(
        token_ids_T=empty_T,
        position_ids_T=empty_T,
        segment_ids_T=empty_T,
        own_T=empty_T.astype(bool),
        sequence_ids_T=empty_T,
        cls_U=np.zeros(slots, np.int32),
        conversation_U=laid_out(np.repeat(np.arange(len(turns)), turns), -1),
        turn_U=laid_out(sum((list(range(n)) for n in turns), []), 0),
        speaker_U=laid_out(sum(numbers, []), -1),
        label_U=label_U,
        weight_U=(label_U >= 0).astype(np.float32),
        value_UxV=np.zeros((slots, 0), np.float32),
        value_weight_UxV=np.zeros((slots, 0), np.float32),
        features_UxM=features,
        present_U={name: np.arange(slots) < used for name in SIZES},
    )


class Compiled(NamedTuple):
    """A baseline for packs of ``SLOTS`` slots, compiled once for all tests.

    Attributes:
        model: The model.
        params: Explicit ones.
        outputs: Returns the outputs of a pack, without dropout.
        pull_back: Returns the gradients of ``sum(outputs * weights)`` in the parameters and in the features of a pack.
    """

    model: Model
    params: Any
    outputs: Callable[[Batch], Array]
    pull_back: Callable[[Batch, np.ndarray], tuple[Any, dict[str, Array]]]


@functools.cache
def compiled(name: str) -> Compiled:
    """Returns the model of a case, compiled."""
    model = CASES[name].model(SLOTS)
    params = explicit_params(model, CASES[name].spread)

    def outputs(params: Any, features: Any, batch: Batch) -> Array:
        return model.apply({"params": params}, batch.replace(features_UxM=features), deterministic=True)

    def total(params: Any, features: Any, batch: Batch, weights: Array) -> Array:
        return (outputs(params, features, batch) * weights).sum()

    forward = jax.jit(outputs)
    gradient = jax.jit(jax.grad(total, argnums=(0, 1)))

    return Compiled(
        model,
        params,
        lambda batch: np.asarray(forward(params, batch.features_UxM, batch)),
        lambda batch, weights: gradient(params, batch.features_UxM, batch, weights),
    )


def _number(speakers: str, place: int) -> int:
    """Returns the number of a turn's speaker, in the order in which they first appear."""
    return list(dict.fromkeys(speakers)).index(speakers[place])
