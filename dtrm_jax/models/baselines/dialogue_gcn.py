"""DialogueGCN: a graph over the turns of a conversation, whose edges know who speaks to whom and in which direction.

Ghosal, Majumder, Poria, Chhaya and Gelbukh: DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition
in Conversation, EMNLP 2019.

With ``x_i`` the vectors of all modalities of turn i end to end, ``N_i`` the turns at most p before and f after it, and
``r_ij`` the relation of turn j to turn i, one for every pair of speakers and direction (before or after)::

    g_i = RNN(x_i, g_{i-1}, g_{i+1})                       several layers, in both directions
    a_ij = softmax_j(g_i W_e g_j)                          over j in N_i and i itself
    h1_i = relu(sum_{j in N_i} a_ij / c_ij W_{r_ij} g_j + a_ii W_0 g_i)
    W_r = sum_b C_rb V_b                                   the basis decomposition of RGCN
    h2_i = relu(sum_{j in N_i} W_1 h1_j + W_2 h1_i)
    m_i = [g_i; h2_i]
    o_i = sum_j softmax_j(m_i W m_j) m_j                   over the conversation: nodal attention
    y_i = W_y relu(W_h o_i + b_h) + b_y

``c_ij`` is how many turns of ``N_i`` have the relation that j has.

What the authors' code does otherwise: each turn scores the 110 places of a conversation by an affine map, in place of
``g_i W_e g_j``, and messages run along edges in the direction opposite to the one that weights are normalised for;
``c_ij`` is 1; an edge from a turn to itself has a relation besides ``W_0``; there is no relu after h1 and h2; nodal
attention has a bias in its query and tanh around its scores. It selects the epoch by the test split. Its RNN is an LSTM
(the paper has a GRU) of two layers and 100 units in each direction, which are the defaults here.

What is different here: the nodal attention has a bias in its query, as in the code; it reaches ``attention_window``
turns in both directions, which is all of IEMOCAP's and MELD's conversations. More speakers than
``model.dialogue_gcn.speakers`` are told apart up to the last, which stands for all that come after it in the order of
their first turns.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.baselines.inputs import joined
from dtrm_jax.models.layers.cells import Bidirectional, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.matching import MatchingAttention
from dtrm_jax.models.layers.neighbours import Neighbours


class DialogueGCN(Baseline):
    """``y_i`` of the equations above."""

    title: ClassVar[str] = "DialogueGCN"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 3e-4,
            "optimizer.weight_decay": 0.0,
            "optimizer.warmup_steps": 0,
            "train.class_balance": 1.0,
            "train.epochs": 60,
            "packing.utterances": 1500,  # their batch is 32 conversations, of IEMOCAP
        },
        "meld": {"model.dialogue_gcn.speakers": 9, "packing.utterances": 320},
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.dialogue_gcn
        drop = Dropout(own.dropout)
        lanes = ways(batch, both=True)
        g_UxD = joined(self.inputs(batch, deterministic=deterministic))
        for index in range(own.context_layers):
            g_UxD = drop(g_UxD, deterministic) if index else g_UxD
            g_UxD = Bidirectional(own.recurrence, own.width, both=True, name=f"context_{index}")(g_UxD, lanes)

        neighbours = Neighbours(batch.conversation_U, batch.turn_U, own.past, own.future)
        weights_BxAxW = neighbours.softmax(
            neighbours.products(nn.Dense(g_UxD.shape[-1], use_bias=False, name="edges")(g_UxD), g_UxD)
        )
        convolution = RelationalConvolution(own.hidden, own.bases, own.speakers, name="relational")
        speaker_U = jnp.clip(batch.speaker_U, 0, own.speakers - 1)
        h1_UxD = jax.nn.relu(convolution(g_UxD, weights_BxAxW, speaker_U, neighbours))
        others_BxAxW = (neighbours.edges_BxAxW & (neighbours.distance_BxAxW != 0)).astype(h1_UxD.dtype)
        around_UxD = neighbours.sums(others_BxAxW, h1_UxD)
        h2_UxD = jax.nn.relu(
            nn.Dense(own.hidden, use_bias=False, name="around")(around_UxD)
            + nn.Dense(own.hidden, use_bias=False, name="itself")(h1_UxD)
        )
        m_UxD = jnp.concatenate([g_UxD, h2_UxD], axis=-1)
        if own.nodal_attention:
            attention = MatchingAttention(own.attention_window, squash=False, name="attention")
            m_UxD = attention(m_UxD, batch.conversation_U, batch.turn_U)
        hidden_UxD = jax.nn.relu(nn.Dense(own.hidden, name="hidden")(m_UxD))
        return nn.Dense(self.outputs, name="output")(drop(hidden_UxD, deterministic))

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Always: the recurrent layers go in both directions."""
        return True


class RelationalConvolution(nn.Module):
    """``sum_j a_ij / c_ij W_{r_ij} g_j + a_ii W_0 g_i`` (Schlichtkrull et al., 2018), without bias.

    For one turn, only 2 M relations occur, those from its own speaker: the neighbours are summed by their speaker and
    direction first, and the sums are mapped then, by the matrices of all relations, or, if these are more than the
    bases, by the bases.

    Attributes:
        width: Of the outputs.
        bases: Matrices that those of the relations are composed of.
        speakers: M; there are 2 M M relations.
    """

    width: int
    bases: int
    speakers: int

    @nn.compact
    def __call__(
        self,
        g_UxI: Float[Array, "U I"],
        weights_BxAxW: Float[Array, "B A W"],
        speaker_U: Int[Array, " U"],
        neighbours: Neighbours,
    ) -> Float[Array, "U Y"]:
        """Returns the outputs, before any activation.

        Args:
            g_UxI: Vectors of the turns.
            weights_BxAxW: a.
            speaker_U: Numbers below M.
            neighbours: Of the turns.
        """
        inputs, kinds = g_UxI.shape[-1], 2 * self.speakers
        bases = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        shares = nn.initializers.normal(self.bases**-0.5)
        # A kind is the speaker and the direction of a neighbour, before or after.
        basis_NxIxY = self.param("bases", bases, (self.bases, inputs, self.width))
        shares_MxKxN = self.param("shares", shares, (self.speakers, kinds, self.bases))
        sums_UxKxI = self._sums(g_UxI, weights_BxAxW, speaker_U, neighbours)
        if self.speakers * kinds <= self.bases:
            maps_MxKxIxY = jnp.einsum("mkn,niy->mkiy", shares_MxKxN, basis_NxIxY)
            from_all_UxMxY = jnp.einsum("uki,mkiy->umy", sums_UxKxI, maps_MxKxIxY)
            from_others_UxY = jnp.take_along_axis(from_all_UxMxY, speaker_U[:, None, None], axis=1)[:, 0]
        else:
            by_basis_UxIxN = jnp.einsum("uki,ukn->uin", sums_UxKxI, jnp.take(shares_MxKxN, speaker_U, axis=0))
            from_others_UxY = jnp.einsum("uin,niy->uy", by_basis_UxIxN, basis_NxIxY)
        itself_BxA = jnp.where(neighbours.distance_BxAxW == 0, weights_BxAxW, 0).sum(axis=-1)
        from_itself_UxY = nn.Dense(self.width, use_bias=False, name="itself")(g_UxI)
        return from_others_UxY + neighbours.blocks.joined(itself_BxA)[:, None] * from_itself_UxY

    @nn.nowrap
    def _sums(self, g_UxI: Array, weights_BxAxW: Array, speaker_U: Array, neighbours: Neighbours) -> Array:
        """Returns ``sum_j a_ij / c_ij g_j`` over the neighbours of each kind, ``[U, K, I]``."""
        blocks, distance_BxAxW = neighbours.blocks, neighbours.distance_BxAxW
        kind_BxAxW = 2 * blocks.near(speaker_U)[:, None, :] + (distance_BxAxW < 0)
        other_BxAxW = neighbours.edges_BxAxW & (distance_BxAxW != 0)
        kinds_BxAxWxK = jax.nn.one_hot(jnp.where(other_BxAxW, kind_BxAxW, -1), 2 * self.speakers, dtype=g_UxI.dtype)
        counts_BxAxK = jnp.maximum(kinds_BxAxWxK.sum(axis=2), 1)
        sums_BxAxKxI = jnp.einsum("bawk,baw,bwi->baki", kinds_BxAxWxK, weights_BxAxW, blocks.near(g_UxI))
        return blocks.joined(sums_BxAxKxI / counts_BxAxK[..., None])
