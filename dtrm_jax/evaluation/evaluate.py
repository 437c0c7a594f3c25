"""Runs a model over a split and scores it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data.packing import build_pack, plan_packs
from dtrm_jax.data.tokenize import TokenizedConversation
from dtrm_jax.evaluation.metrics import classification_metrics
from dtrm_jax.models.dialogue_trm import DialogueTRM

Predict = Callable[[Any, Batch], Float[Array, "N U C"]]


def make_predict(model: DialogueTRM) -> Predict:
    """Returns the compiled ``predict(params, batch)``: every utterance slot's probabilities, without dropout."""

    @jax.jit
    def predict(params: Any, batch: Batch) -> Float[Array, "N U C"]:
        def of_pack(pack: Batch) -> Float[Array, "U C"]:
            return jax.nn.softmax(model.apply({"params": params}, pack, deterministic=True), axis=-1)

        return jax.lax.map(of_pack, batch)

    return predict


def parameter_shapes(model: DialogueTRM) -> Any:
    """Returns the model's parameter tree with shapes for leaves; nothing is computed."""
    pack = build_pack([], model.shape)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), pack, deterministic=True)["params"])


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """A split, packed once, ready to be scored as often as needed.

    Attributes:
        predict: ``(params, batch) -> [N, U, C]`` probabilities.
        conversations: The tokenised split.
        labels: Its label space.
        shape: Shape of a pack.
        packs: Conversation indices of each pack.
    """

    predict: Predict
    conversations: Sequence[TokenizedConversation]
    labels: LabelSpace
    shape: PackShape
    packs: list[list[int]]

    @classmethod
    def build(
        cls, model: DialogueTRM, conversations: Sequence[TokenizedConversation], labels: LabelSpace
    ) -> "Evaluator":
        """Plans the packs of a split, of the shape that ``model`` takes."""
        lengths = [conversation.lengths for conversation in conversations]
        order = sorted(range(len(lengths)), key=lambda index: -sum(lengths[index]))
        packs = plan_packs(lengths, order, model.shape)
        return cls(make_predict(model), conversations, labels, model.shape, packs)

    def probabilities(self, params: Any) -> list[np.ndarray]:
        """Returns ``[turns, C]`` float32 probabilities of every conversation, in the split's order.

        Raises:
            RuntimeError: A turn was predicted not exactly once: a defect of the packing.
        """
        result: list[np.ndarray | None] = [None] * len(self.conversations)
        for pack in self.packs:
            batch = jax.tree.map(
                lambda x: x[None], build_pack([self.conversations[index] for index in pack], self.shape)
            )
            probabilities_UxC = np.asarray(self.predict(params, batch))[0]
            for number, index in enumerate(pack):
                turns = probabilities_UxC[batch.conversation_U[0] == number]
                if result[index] is not None or len(turns) != len(self.conversations[index].labels):
                    raise RuntimeError(f"conversation {index}: expected every turn to be predicted exactly once")
                result[index] = turns
        missing = [index for index, turns in enumerate(result) if turns is None]
        if missing:
            raise RuntimeError(f"conversations {missing[:5]} were never predicted")
        return result

    def score(self, probabilities: Sequence[np.ndarray]) -> dict[str, Any]:
        """Returns the metrics over every labelled turn of the split, each counted once.

        ``loss`` is the plain cross-entropy, whatever weights and smoothing the training uses.
        """
        labels = np.concatenate([conversation.labels for conversation in self.conversations])
        outputs = np.concatenate(probabilities)[labels >= 0]
        labels = labels[labels >= 0]
        likelihood = np.maximum(outputs[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
        loss = float(-np.log(likelihood.astype(np.float64)).mean()) if len(labels) else None
        return classification_metrics(labels, outputs, self.labels, loss)
