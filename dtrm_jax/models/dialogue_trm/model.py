"""DialogueTRM: the composition, reading like the paper's Figure 2."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.errors import InputError, chosen
from dtrm_jax.models.dialogue_trm.discriminator import Discriminator
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.models.dialogue_trm.fusions.fusion import Fusion, Position
from dtrm_jax.models.dialogue_trm.insides import attended
from dtrm_jax.models.dialogue_trm.intra_modal import FeatureBranch, IntraModal
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.reading import encode_utterances
from dtrm_jax.models.interface import Model


class DialogueTRM(Model):
    """Utterance encoder, one intra-modal Transformer per modality, their fusion, discriminator.

    DialogueTRM-U has one modality and no fusion, DialogueTRM-M two or three.

    Attributes:
        config: Model settings.
        encoder: Sizes of the utterance encoder; None if the model reads no text.
        width: D.
        window: K.
        outputs: C, classes or real values.
        future: F, how many later turns are seen; the paper has none.
    """

    streams: ClassVar[bool] = True

    config: ModelConfig
    encoder: Encoder | None
    width: int
    window: int
    outputs: int
    future: int = 0

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack."""
        present_U = presence(self.config, batch)
        r_UxD = {name: self._represent(name, batch, present_U[name], deterministic) for name in present_U}
        if len(r_UxD) == 1:
            (o_UxD,) = r_UxD.values()
        else:
            o_UxD = self._fusion()(r_UxD, present_U, Position(batch.conversation_U, batch.turn_U), deterministic)
        discriminator = Discriminator(
            outputs=self.outputs, dropout=self.config.dropout, dtype=self._dtype, name="discriminator"
        )
        return discriminator(o_UxD, deterministic)

    @nn.nowrap
    def _represent(
        self, modality: str, batch: Batch, present_U: Bool[Array, " U"], deterministic: bool
    ) -> Float[Array, "U D"]:
        """Returns ``r_i`` of one modality (section 4.1)."""
        config = self.config
        settings = {
            "config": config.intra_modal,
            "context": getattr(config.context, modality),
            "window": self.window,
            "dtype": self._dtype,
            "remat": config.remat,
            "future": self.future,
        }
        if modality in config.feature_modalities:
            branch = FeatureBranch(width=self.width, settings=settings, name=modality)
            return branch(batch.features_UxM[modality], present_U, batch.conversation_U, batch.turn_U, deterministic)
        f_UxD = encode_utterances(
            self.encoder.module(self._dtype, remat=config.remat, name="encoder"),
            batch,
            self.shape,
            config.encoder,
            deterministic=deterministic,
        )
        return IntraModal(name="intra_modal", **settings)(f_UxD, batch.conversation_U, batch.turn_U, deterministic)

    @property
    def _dtype(self) -> jnp.dtype:
        return jnp.dtype(self.config.dtype)

    @nn.nowrap
    def _fusion(self) -> Fusion:
        config = self.config
        return FUSIONS[config.fusion.kind](
            config=config.fusion,
            window=self.window,
            dtype=self._dtype,
            remat=config.remat,
            future=self.future,
            name="fusion",
        )

    @classmethod
    def check(cls, config: Config) -> None:
        """Raises InputError if the fusion does not exist."""
        chosen(FUSIONS, config.model.fusion.kind, "config.model.fusion.kind")

    @classmethod
    def build(cls, config: Config, *, encoder: Encoder | None, outputs: int, shape: PackShape) -> "DialogueTRM":
        """See ``Model.build``; the attention heads of every part above the encoder must divide the width."""
        model = config.model
        width = model.encoder.hidden_size if encoder is None else encoder.hidden_size
        heads = {"intra_modal": model.intra_modal.heads} if model.intra_modal.layers else {}
        if len(model.modalities) > 1 and FUSIONS[model.fusion.kind].has_heads:
            heads["fusion"] = model.fusion.heads
        for part, count in heads.items():
            if not count or width % count:
                raise InputError(f"config.model.{part}.heads: expected a divisor of the width {width}, found {count}")
        return cls(
            shape=shape,
            config=model,
            encoder=encoder,
            width=width,
            window=config.tokens.window,
            outputs=outputs,
            future=config.tokens.future,
        )

    @classmethod
    def unlike(cls, there: Config, here: Config, parts: Collection[str]) -> dict[str, str]:
        """Returns what means something else: heads, learned distances, and what a fusion joins, unless it names it."""
        before, now = there.model, here.model
        result = {}
        reach, other = ((config.tokens.window, config.tokens.future) for config in (here, there))
        if reach != other:
            told = "{} earlier and {} later turns"
            result["turn_distance"] = f"{told.format(*reach)} here, {told.format(*other)} there"
        if before.intra_modal.heads != now.intra_modal.heads:
            why = f"{now.intra_modal.heads} heads here, {before.intra_modal.heads} there"
            result |= dict.fromkeys(("intra_modal", *MODALITIES.values()), why)
        kind = FUSIONS[now.fusion.kind]
        if before.fusion.kind != now.fusion.kind:
            result["fusion"] = f"{now.fusion.kind} here, {before.fusion.kind} there"
        elif kind.has_heads and before.fusion.heads != now.fusion.heads:
            result["fusion"] = f"{now.fusion.heads} heads here, {before.fusion.heads} there"
        elif before.modalities != now.modalities and not kind.names_modalities:
            result["fusion"] = f"joins {now.modalities} here, {before.modalities} there"
        elif now.fusion.kind == "bilinear" and before.fusion.seed != now.fusion.seed:
            result["fusion"] = f"seed {now.fusion.seed} here, {before.fusion.seed} there"
        return result

    @classmethod
    def is_causal(cls, config: Config) -> bool:
        """See ``Model.is_causal``; the later turns of ``tokens.future`` reach text and attention alike."""
        return not config.tokens.future

    @classmethod
    def describe(cls, config: Config) -> str:
        """Returns which of the paper's models it is, with contexts, fusion and encoder."""
        model = config.model
        names = [MODALITIES[letter] for letter in model.modalities]
        kind = "DialogueTRM-U" if model.modalities == "u" else "DialogueTRM-M" if len(names) == 3 else "DialogueTRM"
        parts = [", ".join(f"{name} (context-{getattr(model.context, name)})" for name in names)]
        if len(names) > 1:
            parts.append(f"fusion {model.fusion.kind}")
        if "u" in model.modalities:
            named = f"encoder {Path(model.encoder.pretrained).name or 'trained from scratch'}"
            parts.append("utterance vectors from the data" if model.utterance == "features" else named)
        reach = f"context of {config.tokens.window} turns"
        if not cls.is_causal(config):
            reach += f" and {config.tokens.future} later ones (not causal)"
        return f"{kind}: {'; '.join(parts)}; {reach}"

    @nn.nowrap
    def summarise(self, sown: Mapping[str, Any], pack: Batch) -> dict[str, Array]:
        """Returns where attention looks (``insides.attended``) and the fusion's own summary."""
        present_U = presence(self.config, pack)
        result = attended(self.config, self.window, sown, pack, present_U, later=self.future > 0)
        if len(present_U) > 1:
            result |= self._fusion().summarise(sown.get("fusion", {}), present_U)
        return result


def presence(config: ModelConfig, batch: Batch) -> dict[str, Bool[Array, " U"]]:
    """Returns, for each of the model's modalities in their fixed order, which turns have it; a text is always there."""
    everywhere = jnp.ones(batch.turn_U.shape, bool)
    names = [MODALITIES[letter] for letter in config.modalities]
    features = config.feature_modalities
    return {name: batch.present_U[name] if name in features else everywhere for name in names}
