"""SDT: Transformers inside and between modalities, gates over both, and students of single modalities.

Ma, Wang, Lin, Zhang, Zhang and Xu: A Transformer-Based Model With Self-Distillation for Multimodal Emotion Recognition
in Conversations, IEEE Transactions on Multimedia, 2023.

With ``f_im`` the vector of turn i in modality m, ``s_i`` the vector of its speaker and ``p_i`` the sinusoids of i::

    z_im = W_m f_im + p_i + s_i
    F_nm = Transformer(queries z_m, keys and values z_n)          for all pairs of modalities, n = m among them
    G_nm = sigmoid(W_nm F_nm) * F_nm                              gates of single modalities
    h_m = W_m' [G_nm for every n] + b_m
    g_m = softmax_m(W h_m)                                        for each dimension by itself
    y = W_y sum_m g_m * h_m + b_y
    y_m = W_m'' relu(h_m) + b_m''                                 the student of modality m

Training minimises ``L(y) + sum_m (gamma_2 L(y_m) + gamma_3 KL(softmax(y / tau) || softmax(y_m / tau)))`` with the
task's loss L: the students learn from the labels and from the whole model, and are of no use afterwards. Of real
values, the squared difference of y and y_m stands for KL.

What the authors' code does otherwise: in its Transformers, only the feed-forward layer has a layer norm, before it, and
gelu for relu; for MELD, ``W_nm`` is the identity and not trained (``gates=fixed``). It selects the epoch by the test
split, and has no dev split. KL's gradient flows into y too, there as here.

What is different here: the Transformer is that of Vaswani et al., with layer norms after the residuals. A turn that
lacks a modality is no key there, takes no part in ``sum_m`` with it, and does not train its student. Attention reaches
``window`` turns in both directions, which is all of IEMOCAP's and MELD's conversations. More speakers than
``model.sdt.speakers`` are told apart up to the last, which stands for all that come after it in the order of their
first turns.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from dtrm_jax.batch import Array, Batch
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.errors import InputError
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.dialogue_trm.model import presence
from dtrm_jax.models.layers.attention import Drop, banded_attention
from dtrm_jax.models.layers.auxiliary import AUXILIARY
from dtrm_jax.models.layers.dropout import Dropout
from dtrm_jax.models.layers.transformer import Arrangement, TransformerLayer


class SDT(Baseline):
    """``y`` of the equations above."""

    title: ClassVar[str] = "SDT"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {
            "optimizer.learning_rate": 1e-4,
            "optimizer.weight_decay": 1e-5,
            "optimizer.warmup_steps": 0,
            "train.class_balance": 1.0,
            "train.epochs": 150,
            "packing.utterances": 750,  # their batch is 16 conversations, of IEMOCAP
        },
        "meld": {
            "model.sdt.speakers": 9,
            "model.sdt.temperature": 8.0,
            "model.sdt.gates": "fixed",
            "optimizer.learning_rate": 5e-6,
            "train.class_balance": 0.0,
            "train.epochs": 50,
            "packing.utterances": 80,
        },
    }

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        own = self.config.sdt
        there = presence(self.config, batch)
        drop = Dropout(own.dropout)
        s_UxD = nn.Embed(own.speakers, own.width, name="speakers")(jnp.clip(batch.speaker_U, 0, own.speakers - 1))
        place_UxD = sinusoids(batch.turn_U, own.width)
        z = {
            name: drop(nn.Dense(own.width, use_bias=False, name=name)(f_UxM) + place_UxD + s_UxD, deterministic)
            for name, f_UxM in self.inputs(batch, deterministic=deterministic).items()
        }
        h = {name: self._of_modality(name, z, there, batch, deterministic) for name in z}
        for name, h_UxD in h.items():
            student = nn.Dense(self.outputs, name=f"student_{name}")
            self.sow(AUXILIARY, f"by_{name}", student(drop(jax.nn.relu(h_UxD), deterministic)))
        gate = nn.Dense(own.width, use_bias=False, name="gate")
        there_NxUx1 = jnp.stack(list(there.values()))[:, :, None]
        scores_NxUxD = jnp.where(there_NxUx1, jnp.stack([gate(h_UxD) for h_UxD in h.values()]), -1e30)
        shares_NxUxD = jnp.where(there_NxUx1, jax.nn.softmax(scores_NxUxD, axis=0), 0)
        joined_UxD = (shares_NxUxD * jnp.stack(list(h.values()))).sum(axis=0)
        return nn.Dense(self.outputs, name="output")(joined_UxD)

    @nn.nowrap
    def _of_modality(
        self,
        name: str,
        z: Mapping[str, Float[Array, "U D"]],
        there: Mapping[str, Bool[Array, " U"]],
        batch: Batch,
        deterministic: bool,
    ) -> Float[Array, "U D"]:
        """Returns ``h_m`` of one modality."""
        own = self.config.sdt
        gated = []
        for source in z:
            layer = TransformerLayer(own.heads, own.width, own.dropout, jnp.float32, name=f"{source}_to_{name}")
            seeing = _conversation(batch, own.window, there[source])
            f_UxD = layer(z[name], seeing, deterministic, z[source])
            gate = f_UxD
            if own.gates == "learned":
                gate = nn.Dense(own.width, use_bias=False, name=f"gate_{source}_to_{name}")(f_UxD)
            gated.append(jax.nn.sigmoid(gate) * f_UxD)
        return nn.Dense(own.width, name=f"joined_{name}")(jnp.concatenate(gated, axis=-1))

    @classmethod
    def unlike(cls, there: Config, here: Config, parts: Collection[str]) -> dict[str, str]:
        """Returns what joins other modalities, and attention with other heads; the rest is named by its modalities."""
        before, now, result = there.model, here.model, {}
        if before.modalities != now.modalities:
            why = f"joins {now.modalities} here, {before.modalities} there"
            result |= {part: why for part in parts if part.startswith("joined_")}
        if before.sdt.heads != now.sdt.heads:
            why = f"{now.sdt.heads} heads here, {before.sdt.heads} there"
            result |= {part: why for part in parts if "_to_" in part and not part.startswith("gate_")}
        return result

    @nn.nowrap
    def auxiliary_losses(
        self,
        sown: Mapping[str, Any],
        output_UxC: Float[Array, "U C"],
        pack: Batch,
        loss: Callable[[Float[Array, "U C"], Batch], Float[Array, ""]],
    ) -> dict[str, Float[Array, ""]]:
        """Returns what the students learn from the labels and what from the whole model."""
        own, result = self.config.sdt, {}
        for name, there_U in presence(self.config, pack).items():
            (student_UxC,) = sown[f"by_{name}"]
            seen = pack.replace(
                weight_U=pack.weight_U * there_U, value_weight_UxV=pack.value_weight_UxV * there_U[:, None]
            )
            result[f"labels_{name}"] = own.student_weight * loss(student_UxC, seen)
            if self.shape.values:
                apart = (seen.value_weight_UxV * (output_UxC - student_UxC) ** 2).sum()
            else:
                apart = (seen.weight_U * _divergence(output_UxC, student_UxC, own.temperature)).sum()
            result[f"distillation_{name}"] = own.distillation_weight * apart
        return result

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Always: attention goes in both directions."""
        return True

    @classmethod
    def check(cls, config: Config) -> None:
        """Raises InputError if the heads do not divide the width."""
        own = config.model.sdt
        if own.width % own.heads:
            raise InputError(f"config.model.sdt.heads: expected a divisor of the width {own.width}, found {own.heads}")


def sinusoids(turn_U: Int[Array, " U"], width: int) -> Float[Array, "U D"]:
    """Returns ``sin(i / 10000^(2 k / D))`` at dimension 2 k and the cosine after it (Vaswani et al., 2017)."""
    rates = 10000.0 ** (-jnp.arange(0, width, 2) / width)
    angles = turn_U[:, None] * rates
    both = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return both.reshape(len(turn_U), -1)[:, :width]


def _conversation(batch: Batch, window: int, seen_U: Bool[Array, " U"]) -> Arrangement:
    """Returns attention over the turns of a conversation that have a modality."""

    def seeing(q: Array, k: Array, v: Array, drop: Drop) -> tuple[Array, Array]:
        place = (batch.conversation_U, batch.turn_U)
        return banded_attention(q, k, v, *place, window, drop, seen_U=seen_U, future=window)

    return seeing


def _divergence(
    teacher_UxC: Float[Array, "U C"], student_UxC: Float[Array, "U C"], temperature: float
) -> Float[Array, " U"]:
    """Returns ``KL(softmax(t / tau) || softmax(s / tau))``."""
    teacher, student = (jax.nn.log_softmax(logits / temperature) for logits in (teacher_UxC, student_UxC))
    return (jnp.exp(teacher) * (teacher - student)).sum(axis=-1)
