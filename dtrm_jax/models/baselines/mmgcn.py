"""MMGCN: a graph over the turns in all their modalities, and a deep convolution on it that does not smooth all away.

Hu, Liu, Zhao and Jin: MMGCN: Multimodal Fusion via Deep Graph Convolution Network for Emotion Recognition in
Conversation, ACL 2021.

Every turn i is one node per modality m, with the speaker's vector ``s_i``::

    n_im = [e_im; s_i]          e_iu = BiLSTM(u_i), e_ia = W_a a_i + b_a, e_iv = W_v v_i + b_v
    A_ij = 1 - arccos(cos(n_im, n_jm)) / pi              between all turns of a conversation, in each modality
    A_mn = gamma (1 - arccos(cos(n_im, n_in)) / pi)      between the modalities of a turn
    P = D^-1/2 (A + I) D^-1/2                            D has the sums of A + I's rows
    H_0 = relu(W_0 n + b_0)
    H_l = relu(((1 - alpha) P H_{l-1} + alpha H_0) ((1 - beta_l) I + beta_l W_l))      beta_l = log(eta / l + 1)
    y_i = W_y relu([n_im; H_im for every m]) + b_y

What the authors' code does otherwise: the speaker's vector is added to the utterance's node alone; gamma is 1; A_ii is
0.9986 in place of I; each ``W_l`` maps P H and H_0 apart (the variant GCNII*); utterance vectors first go through an
affine map to 200. It builds 64 layers of the graph, whatever its command line says (4, the default here), and on MELD
its loss is the focal one. It selects the epoch by the test split.

What is different here: alpha, eta and gamma are by default those of the code. A cosine is multiplied by 0.99999, as
there, since the slope of arccos has no bound at 1. A node whose turn lacks the modality has no edges, and its part of
the last line is zeros. Edges reach ``window`` turns in both directions, which is all of IEMOCAP's and MELD's
conversations. More speakers than ``model.mmgcn.speakers`` are told apart up to the last, which stands for all that come
after it in the order of their first turns.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import ModelConfig
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.dialogue_trm.model import presence
from dtrm_jax.models.layers.cells import Bidirectional, ways
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.neighbours import Neighbours


class MMGCN(Baseline):
    """``y_i`` of the equations above."""

    title: ClassVar[str] = "MMGCN"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 3e-4,
            "optimizer.weight_decay": 3e-5,
            "optimizer.warmup_steps": 0,
            "train.class_balance": 1.0,
            "train.epochs": 20,
            "packing.utterances": 750,  # their batch is 16 conversations, of IEMOCAP
        },
        "meld": {
            "model.mmgcn.speakers": 9,
            "optimizer.learning_rate": 1e-3,
            "optimizer.weight_decay": 0.0,
            "train.class_balance": 0.0,
            "train.epochs": 60,
            "packing.utterances": 160,
        },
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.mmgcn
        drop = Dropout(own.dropout)
        speakers = nn.Embed(own.speakers, own.speaker_width, name="speakers")
        s_UxD = speakers(jnp.clip(batch.speaker_U, 0, own.speakers - 1))
        nodes = [
            jnp.concatenate([self._encode(name, x_UxM, batch, deterministic), s_UxD], axis=-1)
            for name, x_UxM in self.inputs(batch, deterministic=deterministic).items()
        ]
        there = presence(self.config, batch)
        graph = Graph(nodes, list(there.values()), batch, own.window, own.cross_modal)
        h_0 = [jax.nn.relu(layer(drop(n_UxD, deterministic))) for layer, n_UxD in self._shared("input", nodes)]
        h = h_0
        for index in range(1, own.layers + 1):
            beta = math.log(own.eta / index + 1)
            h = graph.spread([drop(h_UxD, deterministic) for h_UxD in h])
            h = [(1 - own.alpha) * h_UxD + own.alpha * first_UxD for h_UxD, first_UxD in zip(h, h_0, strict=True)]
            layers = self._shared(f"layer_{index}", h, use_bias=False)
            h = [jax.nn.relu((1 - beta) * h_UxD + beta * layer(h_UxD)) for layer, h_UxD in layers]
        parts = [
            jnp.where(there_U[:, None], part, 0)
            for there_U, *both in zip(there.values(), nodes, h, strict=True)
            for part in both
        ]
        last_UxD = drop(jax.nn.relu(jnp.concatenate(parts, axis=-1)), deterministic)
        return nn.Dense(self.outputs, name="output")(last_UxD)

    @nn.nowrap
    def _encode(self, name: str, x_UxM: Array, batch: Batch, deterministic: bool) -> Float[Array, "U D"]:
        """Returns ``e_im`` of one modality."""
        own = self.config.mmgcn
        if name != "utterance":
            return nn.Dense(2 * own.width, name=name)(x_UxM)
        lanes = ways(batch, both=True)
        for index in range(own.context_layers):
            x_UxM = Dropout(own.dropout)(x_UxM, deterministic) if index else x_UxM
            x_UxM = Bidirectional("lstm", own.width, both=True, name=f"utterance_{index}")(x_UxM, lanes)
        return x_UxM

    @nn.nowrap
    def _shared(self, name: str, of: list[Array], *, use_bias: bool = True) -> list[tuple[nn.Dense, Array]]:
        """Returns the same affine map beside each modality's vectors: a node's modality is not known to it."""
        layer = nn.Dense(self.config.mmgcn.hidden, use_bias=use_bias, name=name)
        return [(layer, x_UxD) for x_UxD in of]

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Always: a turn's nodes meet later ones."""
        return True


class Graph:
    """``P``, of the nodes of a pack.

    Args:
        nodes: Of each modality, ``[U, D]``.
        there: Of each modality, ``[U]``: which nodes have edges.
        batch: The pack.
        window: How many turns the edges of a modality reach in both directions.
        cross_modal: gamma.
    """

    def __init__(
        self,
        nodes: list[Float[Array, "U D"]],
        there: list[Bool[Array, " U"]],
        batch: Batch,
        window: int,
        cross_modal: float,
    ):
        self._near = near = Neighbours(batch.conversation_U, batch.turn_U, window, window)
        blocks = near.blocks
        units = [_unit(n_UxD) for n_UxD in nodes]
        self._inside, self._across = [], []
        for own, unit_UxD in enumerate(units):
            both_BxAxW = blocks.own(there[own], False)[:, :, None] & blocks.near(there[own], False)[:, None, :]
            edge_BxAxW = near.edges_BxAxW & (near.distance_BxAxW != 0) & both_BxAxW
            self._inside.append(jnp.where(edge_BxAxW, _similarity(near.products(unit_UxD, unit_UxD)), 0))
            across = []
            for other, other_UxD in enumerate(units):
                alike_U = _similarity((unit_UxD * other_UxD).sum(axis=-1))
                edge_U = there[own] & there[other] & (own != other)
                across.append(jnp.where(edge_U, cross_modal * alike_U, 0))
            self._across.append(across)
        self._scales = [
            jax.lax.rsqrt(1 + blocks.joined(inside.sum(axis=-1)) + sum(across))[:, None]
            for inside, across in zip(self._inside, self._across, strict=True)
        ]

    def spread(self, h: list[Float[Array, "U D"]]) -> list[Float[Array, "U D"]]:
        """Returns ``P H`` of each modality's nodes."""
        scaled = [scale * h_UxD for scale, h_UxD in zip(self._scales, h, strict=True)]
        result = []
        for own, scale in enumerate(self._scales):
            across = sum(a_U[:, None] * h_UxD for a_U, h_UxD in zip(self._across[own], scaled, strict=True))
            result.append(scale * (scaled[own] + self._near.sums(self._inside[own], scaled[own]) + across))
        return result


def _unit(x_UxD: Float[Array, "U D"]) -> Float[Array, "U D"]:
    """Returns vectors of length 1; zeros stay zeros."""
    return x_UxD * jax.lax.rsqrt(jnp.maximum((x_UxD**2).sum(axis=-1, keepdims=True), 1e-12))


def _similarity(cosine: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns ``1 - arccos(cos) / pi``."""
    return 1 - jnp.arccos(0.99999 * cosine) / math.pi
