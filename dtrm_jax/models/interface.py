"""The interface of models for training, evaluation and experiments: a pack to one row of outputs per turn."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import flax.linen as nn
from jaxtyping import Float

from dtrm_jax.batch import Array, Batch, PackShape
from dtrm_jax.config import Config
from dtrm_jax.models.encoders.family import Encoder

# What people are told of a model that is not causal.
NOT_CAUSAL = "not causal: a turn is judged by later turns too"


class Model(nn.Module):
    """A model of emotions in conversations; a new one is a subclass in a file of its own and a line in the registry.

    Attributes:
        shape: Static shape of the packs that this instance takes.
        encoder_parts: Names of the top-level parameters that learn at the encoder's rate. All others learn at the
            rate of the rest.
        streams: Whether the model, where it is causal, can follow a live conversation: a pack of turns of one
            conversation may go on where an earlier pack ended. What the model must know of earlier turns, it keeps in
            variables of the collection ``layers.memory.MEMORY``, which begin as zeros, where ``layers.memory.goes_on``
            says so. A model that sees no other turn need only say True.
        shares: Another architecture -> the parts of this one that mean the same there, besides the encoder. Training
            that begins with the parameters of a run of it takes them over by name.
    """

    encoder_parts: ClassVar[frozenset[str]] = frozenset({"encoder"})
    streams: ClassVar[bool] = False
    shares: ClassVar[Mapping[str, frozenset[str]]] = {}

    shape: PackShape

    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits, or real values, of every utterance slot of one pack; unused slots may hold anything.

        Args:
            batch: One pack, without a leading axis.
            deterministic: No dropout. Otherwise the keys come from the stream "dropout".
        """
        raise NotImplementedError

    @classmethod
    def build(cls, config: Config, *, encoder: Encoder | None, outputs: int, shape: PackShape) -> "Model":
        """Builds the model that a config describes.

        Args:
            config: The whole config.
            encoder: Sizes of the utterance encoder; None if no text is encoded.
            outputs: C, classes or real values.
            shape: Shape of the packs.

        Raises:
            InputError: The settings do not fit each other, or the encoder.
        """
        raise NotImplementedError

    @classmethod
    def check(cls, config: Config) -> None:
        """Raises InputError for settings that can be refused before data and encoder are read; does so for none."""

    @classmethod
    def is_causal(cls, config: Config) -> bool:
        """Whether a turn's outputs depend on no later turn, so that a live conversation can be followed.

        Must not be True where they may: a model that always looks ahead says False. One that meets other turns in the
        text alone says ``not config.tokens.reads_later``.
        """
        raise NotImplementedError

    @classmethod
    def unlike(cls, there: Config, here: Config, parts: Collection[str]) -> dict[str, str]:
        """Returns what means something else under two configs, though its arrays may look alike.

        Training that begins with the parameters of another run starts these anew.

        Args:
            there: Of the other run, which has the same architecture.
            here: Of this one.
            parts: Names of the top-level parts of this one.

        Returns:
            Name of a part, or of an array in any part -> why; nothing by default.
        """
        return {}

    @classmethod
    def describe(cls, config: Config) -> str:
        """Describes the model in one line for people."""
        return f"{config.model.architecture}: {', '.join(config.model.modalities)}"

    @nn.nowrap
    def auxiliary_losses(
        self,
        sown: Mapping[str, Any],
        output_UxC: Float[Array, "U C"],
        pack: Batch,
        loss: Callable[[Float[Array, "U C"], Batch], Float[Array, ""]],
    ) -> dict[str, Float[Array, ""]]:
        """Returns what training minimises besides the loss of the outputs.

        Args:
            sown: The collection ``layers.auxiliary.AUXILIARY`` of the step's run; ``sow`` keeps tuples.
            output_UxC: What the same run returned.
            pack: The pack that the model was run on.
            loss: The task's loss, with its weights of classes and smoothing, of other outputs for a pack, this one or
                one whose weights differ: a sum over the turns that count.

        Returns:
            Name -> sum over the turns that count, as the task's loss is, so that all are divided by the same weight;
            nothing by default.
        """
        return {}

    @nn.nowrap
    def summarise(self, sown: Mapping[str, Any], pack: Batch) -> dict[str, Array]:
        """Returns a few numbers on the model's insides for every utterance slot of a pack.

        Args:
            sown: The collection "intermediates" of a run without dropout.
            pack: The pack that the model was run on.

        Returns:
            Name -> ``[U]``, NaN where a turn has no such number; nothing by default. The names are columns of
            ``predictions.csv``: those that ``evaluation.files.inside_columns`` lists, or any that begin with
            ``inside_``, of which the report shows the means.
        """
        return {}
