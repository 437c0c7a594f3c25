"""What all baselines have in common: their inputs, how they are built, and what is said of them."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import flax.linen as nn

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import Config, ModelConfig
from dtrm_jax.conversation import MODALITIES
from dtrm_jax.models.baselines.inputs import Vectors, by_modality
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.interface import NOT_CAUSAL, Model

# What the models' authors do not do where ``published`` does not say so, whatever a config has for DialogueTRM.
_NOT_SAID = {
    "optimizer.gradient_clip": 0.0,
    "train.class_balance": 0.0,
    "train.label_smoothing": 0.0,
    "train.patience": 0,
}


class Baseline(Model):
    """A model that DialogueTRM is compared with. Above the encoder it computes in float32.

    Its file says whose it is, what it computes, where its authors' code does not do what their paper says, and what is
    different here.

    Attributes:
        title: Its name in tables.
        published: Corpus -> setting -> value, with which its authors trained it, as far as settings can say it; "" is
            for every corpus. They used Adam with L2 in the loss and a constant rate, here it is AdamW, whose rate falls
            to zero; L2's factor stands as ``optimizer.weight_decay``.
        config: Settings of the model.
        encoder: Sizes of the utterance encoder; None if no text is read.
        outputs: C, classes or real values.
    """

    title: ClassVar[str]
    published: ClassVar[Mapping[str, Mapping[str, Any]]]

    config: ModelConfig
    encoder: Encoder | None
    outputs: int

    @nn.nowrap
    def inputs(self, batch: Batch, *, deterministic: bool) -> Vectors:
        """Returns ``inputs.by_modality`` of a pack."""
        return by_modality(self.config, self.encoder, batch, self.shape, deterministic=deterministic)

    @classmethod
    def published_for(cls, corpus: str) -> dict[str, Any]:
        """Returns ``published`` for a corpus: what holds for every corpus, what is its own, and what was not done."""
        return {**_NOT_SAID, **cls.published[""], **cls.published.get(corpus, {})}

    @classmethod
    def looks_ahead(cls, config: ModelConfig) -> bool:
        """Whether a turn's outputs depend on the vectors of later turns; must not be False where they do."""
        raise NotImplementedError

    @classmethod
    def is_causal(cls, config: Config) -> bool:
        """See ``Model.is_causal``; ``tokens.future`` matters only where a turn's text is read with that of others."""
        return not cls.looks_ahead(config.model) and not (config.model.reads_text and config.tokens.reads_later)

    @classmethod
    def unlike(cls, there: Config, here: Config, parts: Collection[str]) -> dict[str, str]:
        """Returns all above the encoder if other modalities are read, whose vectors most models take end to end."""
        before, now = there.model.modalities, here.model.modalities
        if before == now:
            return {}
        return dict.fromkeys(set(parts) - cls.encoder_parts, f"reads {now} here, {before} there")

    @classmethod
    def build(cls, config: Config, *, encoder: Encoder | None, outputs: int, shape: PackShape) -> "Baseline":
        """See ``Model.build``."""
        return cls(shape=shape, config=config.model, encoder=encoder, outputs=outputs)

    @classmethod
    def describe(cls, config: Config) -> str:
        """Returns its name, modalities and whether it is causal."""
        names = ", ".join(MODALITIES[letter] for letter in config.model.modalities)
        parts = [f"{cls.title}: {names}"]
        if "u" in config.model.modalities:
            read = config.model.reads_text
            parts.append("encoder trained with it" if read else "utterance vectors from the data")
        return "; ".join(parts) + ("" if cls.is_causal(config) else f" ({NOT_CAUSAL})")
