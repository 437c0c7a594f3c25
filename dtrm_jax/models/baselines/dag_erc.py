"""DAG-ERC: a conversation as a directed acyclic graph, whose turns are computed in order, each from its predecessors.

Shen, Wu, Yang and Quan: Directed Acyclic Graph Network for Conversational Emotion Recognition, ACL 2021.

The predecessors ``P_i`` of turn i are the turns before it, back to the omega-th one of the same speaker. With ``x_i``
the vectors of all modalities of turn i end to end, for the layers l from 1 to L::

    H0_i = relu(W_0 x_i + b_0)
    a_ij = softmax_j(v [Hl_j; H(l-1)_i])                  over j in P_i
    M_i = sum_j a_ij W_{r_ij} Hl_j                        r_ij: the same speaker or another; zeros without predecessors
    Hl_i = GRU_H(input H(l-1)_i, state M_i) + GRU_M(input M_i, state H(l-1)_i)
    y_i = W_y relu(W_h [H0_i; ...; HL_i] + b_h) + b_y

The half of ``v`` that meets ``H(l-1)_i`` adds the same to the scores of all j, and the softmax undoes it: it gets no
gradient, and is left out here.

What the authors' code does otherwise: ``x_i`` itself stands beside the states in the last line, and there are two relu
layers; its log ends with the score of the epoch that is best on the test split beside that of dev's.

What is different here: of the predecessors, those more than ``window`` turns before turn i are left out; there are none
where a speaker's turns are nearer to each other than that. Speakers are only compared, so that there may be any number
of them.

Of this model and DialogueCRN, which reasons over all of a conversation, this one is here because it is causal, as
DialogueTRM is, so that the two may be compared, and a live conversation followed.
"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.layers.cells import Cell, GRUCell, gru, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.few_rows import FewRows
from dtrm_jax.models.layers.memory import MEMORY, goes_on
from dtrm_jax.models.layers.recurrence import recur_noting
from dtrm_jax.models.layers.steps import Past


class DAGERC(Baseline):
    """``y_i`` of the equations above."""

    title: ClassVar[str] = "DAG-ERC"
    streams: ClassVar[bool] = True
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 5e-4,
            "optimizer.weight_decay": 0.0,
            "optimizer.warmup_steps": 0,
            "optimizer.gradient_clip": 5.0,
            "train.epochs": 30,
            "packing.utterances": 750,  # their batch is 16 conversations, of IEMOCAP
        },
        "meld": {
            "model.dag_erc.layers": 2,
            "model.dag_erc.dropout": 0.1,
            "optimizer.learning_rate": 1e-5,
            "train.epochs": 70,
            "packing.utterances": 640,
        },
        "emorynlp": {
            "model.dag_erc.layers": 2,
            "model.dag_erc.dropout": 0.3,
            "optimizer.learning_rate": 5e-5,
            "train.epochs": 100,
            "packing.utterances": 340,  # 32 conversations
        },
        "dailydialog": {
            "model.dag_erc.layers": 3,
            "model.dag_erc.dropout": 0.3,
            "optimizer.learning_rate": 2e-5,
            "train.epochs": 50,
            "packing.utterances": 500,  # 64 conversations
        },
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.dag_erc
        x_UxM = joined(self.inputs(batch, deterministic=deterministic))
        h0_UxD = jax.nn.relu(nn.Dense(own.width, name="input")(x_UxM))
        states_UxD = DirectedGraph(own.layers, own.width, own.same_speaker, own.window, name="graph")(h0_UxD, batch)
        hidden = nn.Dense(own.width, name="hidden")
        hidden_UxD = jax.nn.relu(hidden(jnp.concatenate([h0_UxD, states_UxD], axis=-1)))
        return nn.Dense(self.outputs, name="output")(Dropout(own.dropout)(hidden_UxD, deterministic))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Never."""
        return False


class Layer(NamedTuple):
    """The weights of one layer.

    Attributes:
        score_D: The half of v that meets a predecessor.
        same_DxD: W of predecessors of the same speaker.
        other_DxD: W of the others.
        nodal: GRU_H.
        contextual: GRU_M.
    """

    score_D: Float[Array, " D"]
    same_DxD: FewRows
    other_DxD: FewRows
    nodal: Cell
    contextual: Cell


class DirectedGraph(nn.Module):
    """``H1_i`` to ``HL_i``, end to end; they are also what a turn notes for those after it.

    In a pack that goes on, the first turns see those of the last ``window`` turns before it, which it remembers.

    Attributes:
        layers: L.
        width: D.
        same_speaker: omega.
        window: K.
    """

    layers: int
    width: int
    same_speaker: int
    window: int

    @nn.compact
    def __call__(self, h0_UxD: Float[Array, "U D"], batch: Batch) -> Float[Array, "U LD"]:
        """Returns the states of all layers.

        Args:
            h0_UxD: ``H0``.
            batch: The pack.
        """
        layers = [self._layer(index) for index in range(self.layers)]
        notes = (self.window, self.layers * self.width)
        if not goes_on(self):
            before_K = jnp.full(self.window, -1, jnp.int32)
            return self._states(layers, h0_UxD, batch, jnp.zeros(notes), before_K)[0]
        memory = self.variable(MEMORY, "turns", lambda: (jnp.zeros(notes), jnp.zeros(self.window, jnp.int32)))
        states_UxLD, speakers = self._states(layers, h0_UxD, batch, *memory.value)
        used = jnp.sum(batch.conversation_U != -1)
        known = (jnp.concatenate([memory.value[0], states_UxLD]), speakers)
        memory.value = tuple(jax.lax.dynamic_slice_in_dim(x, used, self.window) for x in known)
        return states_UxLD

    @nn.nowrap
    def _layer(self, index: int) -> Layer:
        kernel = nn.initializers.lecun_normal()
        return Layer(
            self.param(f"score_{index}", nn.initializers.normal(self.width**-0.5), (self.width,)),
            FewRows.of(self.param(f"same_{index}", kernel, (self.width, self.width))),
            FewRows.of(self.param(f"other_{index}", kernel, (self.width, self.width))),
            GRUCell(self.width, name=f"nodal_{index}")(self.width),
            GRUCell(self.width, name=f"contextual_{index}")(self.width),
        )

    @nn.nowrap
    def _states(
        self,
        layers: list[Layer],
        h0_UxD: Array,
        batch: Batch,
        before_KxLD: Array,
        before_K: Int[Array, " K"],
    ) -> tuple[Float[Array, "U LD"], Int[Array, " _"]]:
        """Returns the states, and the speakers of the K turns before the pack and of its own."""
        lanes = ways(batch, both=False).forward
        speakers = jnp.concatenate([before_K, batch.speaker_U])
        slots, ages_K = len(batch.speaker_U), self.window - jnp.arange(self.window)
        past_UxK = speakers[jnp.arange(slots)[:, None] + jnp.arange(self.window)]
        seen_UxK = ages_K <= lanes.position_U[:, None]
        same_UxK = seen_UxK & (past_UxK == batch.speaker_U[:, None])
        # How many turns of the same speaker come after each one of the past.
        since_UxK = jnp.cumsum(same_UxK[:, ::-1], axis=1)[:, ::-1] - same_UxK
        edges_UxK = seen_UxK & (since_UxK < self.same_speaker)
        x = (h0_UxD, (edges_UxK & same_UxK).astype(h0_UxD.dtype), (edges_UxK & ~same_UxK).astype(h0_UxD.dtype))
        _, states_UxLD = recur_noting(_step, layers, x, lanes, (), before_KxLD)
        return states_UxLD, speakers


@functools.partial(jax.checkpoint, static_argnums=0)
def _received(
    number: int, notes_NxKxLD: Array, score_D: Array, same_NxK: Array, other_NxK: Array
) -> tuple[Float[Array, "N D"], Float[Array, "N D"]]:
    """Returns what a layer receives from predecessors of both relations.

    Its gradient takes the layer's part of the notes again, so that it is not kept for every turn.
    """
    first, width = number * len(score_D), len(score_D)
    before_NxKxD = notes_NxKxLD[..., first : first + width]
    edges_NxK = same_NxK + other_NxK
    weights_NxK = jax.nn.softmax(jnp.where(edges_NxK > 0, before_NxKxD @ score_D, -1e30), axis=-1)
    same_NxD, other_NxD = (
        jnp.einsum("nk,nkd->nd", weights_NxK * edge_NxK, before_NxKxD) for edge_NxK in (same_NxK, other_NxK)
    )
    return same_NxD, other_NxD


def _step(layers: list[Layer], state: tuple[()], x: tuple[Array, Array, Array], past: Past) -> tuple[tuple[()], Array]:
    """Computes the states of some turns, in all layers; takes ``H0`` and who is a predecessor, of which relation."""
    h_NxD, *edges = x
    # The oldest turn first is how edges come, and not how notes do.
    place_NxK = past.notes_NxKxD.shape[1] - past.age_NxK
    same_NxK, other_NxK = (jnp.take_along_axis(edge_NxK, place_NxK, axis=1) for edge_NxK in edges)
    states = []
    for number, layer in enumerate(layers):
        same_NxD, other_NxD = _received(number, past.notes_NxKxD, layer.score_D, same_NxK, other_NxK)
        m_NxD = layer.same_DxD(same_NxD) + layer.other_DxD(other_NxD)
        nodal_NxD = gru(layer.nodal.hidden, m_NxD, layer.nodal.inputs(h_NxD))
        h_NxD = nodal_NxD + gru(layer.contextual.hidden, h_NxD, layer.contextual.inputs(m_NxD))
        states.append(h_NxD)
    return state, jnp.concatenate(states, axis=-1)
