"""Runs a model over a split and scores it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.packing import Example, build_pack, plan_packs, with_own_tokens
from dtrm_jax.evaluation.metrics import classification_metrics, value_metrics
from dtrm_jax.models.dialogue_trm import DialogueTRM

Predict = Callable[[Any, Batch], Float[Array, "N U C"]]


def make_predict(model: DialogueTRM) -> Predict:
    """Returns the compiled ``predict(params, batch)``, without dropout.

    Its result is every utterance slot's probabilities of the classes, or the real values.
    """

    @jax.jit
    def predict(params: Any, batch: Batch) -> Float[Array, "N U C"]:
        def of_pack(pack: Batch) -> Float[Array, "U C"]:
            output_UxC = model.apply({"params": params}, pack, deterministic=True)
            return output_UxC if model.shape.values else jax.nn.softmax(output_UxC, axis=-1)

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
        predict: ``(params, batch) -> [N, U, C]`` probabilities or real values.
        examples: The prepared split.
        labels: Its label space.
        shape: Shape of a pack.
        packs: Conversation indices of each pack.
    """

    predict: Predict
    examples: Sequence[Example]
    labels: LabelSpace | ValueSpace
    shape: PackShape
    packs: list[list[int]]

    @classmethod
    def build(cls, model: DialogueTRM, examples: Sequence[Example], labels: LabelSpace | ValueSpace) -> "Evaluator":
        """Plans the packs of a split, of the shape that ``model`` takes."""
        lengths = [example.lengths for example in examples]
        order = sorted(range(len(lengths)), key=lambda index: (-sum(lengths[index]), -len(lengths[index])))
        packs = plan_packs(lengths, order, model.shape)
        shape = with_own_tokens(model.shape, packs, examples)
        return cls(make_predict(model.clone(shape=shape)), examples, labels, shape, packs)

    def outputs(self, params: Any) -> list[np.ndarray]:
        """Returns ``[turns, C]`` float32 probabilities or real values of every conversation, in the split's order.

        Raises:
            RuntimeError: A turn was predicted not exactly once: a defect of the packing.
        """
        result: list[np.ndarray | None] = [None] * len(self.examples)
        for pack in self.packs:
            batch = jax.tree.map(lambda x: x[None], build_pack([self.examples[index] for index in pack], self.shape))
            outputs_UxC = np.asarray(self.predict(params, batch))[0]
            for number, index in enumerate(pack):
                turns = outputs_UxC[batch.conversation_U[0] == number]
                if result[index] is not None or len(turns) != len(self.examples[index].labels):
                    raise RuntimeError(f"conversation {index}: expected every turn to be predicted exactly once")
                result[index] = turns
        missing = [index for index, turns in enumerate(result) if turns is None]
        if missing:
            raise RuntimeError(f"conversations {missing[:5]} were never predicted")
        return result

    def score(self, outputs: Sequence[np.ndarray]) -> dict[str, Any]:
        """Returns the metrics over every labelled turn of the split, each counted once.

        ``loss`` is the plain cross-entropy or squared error, whatever weights and smoothing the training uses.
        """
        flat = np.concatenate(outputs)
        if isinstance(self.labels, ValueSpace):
            return value_metrics(np.concatenate([example.values for example in self.examples]), flat, self.labels)
        labels = np.concatenate([example.labels for example in self.examples])
        flat, labels = flat[labels >= 0], labels[labels >= 0]
        likelihood = np.maximum(flat[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
        loss = float(-np.log(likelihood.astype(np.float64)).mean()) if len(labels) else None
        return classification_metrics(labels, flat, self.labels, loss)
