"""Runs a model over a split and scores it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing import build_pack, build_planned
from dtrm_jax.data.plans import EvaluationPlan
from dtrm_jax.evaluation.metrics import classification_metrics, value_metrics
from dtrm_jax.models.interface import Model

Predict = Callable[[Any, Batch], Float[Array, "N U C"]]
Inspect = Callable[[Any, Batch], tuple[Float[Array, "N U C"], dict[str, Array]]]


def make_predict(model: Model) -> Predict:
    """Returns the compiled ``predict(params, batch)``, without dropout.

    Its result is every utterance slot's probabilities of the classes, or the real values.
    """

    @jax.jit
    def predict(params: Any, batch: Batch) -> Float[Array, "N U C"]:
        def of_pack(pack: Batch) -> Float[Array, "U C"]:
            return _finished(model, model.apply({"params": params}, pack, deterministic=True))

        return jax.lax.map(of_pack, batch)

    return predict


def make_inspect(model: Model) -> Inspect:
    """Returns the compiled ``inspect(params, batch)``: ``predict``'s result, and ``Model.summarise``'s ``[N, U]``."""

    @jax.jit
    def inspect(params: Any, batch: Batch) -> tuple[Float[Array, "N U C"], dict[str, Array]]:
        def of_pack(pack: Batch) -> tuple[Float[Array, "U C"], dict[str, Array]]:
            output_UxC, sown = model.apply({"params": params}, pack, deterministic=True, mutable=["intermediates"])
            return _finished(model, output_UxC), model.summarise(sown.get("intermediates", {}), pack)

        return jax.lax.map(of_pack, batch)

    return inspect


def _finished(model: Model, output_UxC: Float[Array, "U C"]) -> Float[Array, "U C"]:
    return output_UxC if model.shape.values else jax.nn.softmax(output_UxC, axis=-1)


def parameter_shapes(model: Model) -> Any:
    """Returns the model's parameter tree with shapes for leaves; nothing is computed."""
    pack = build_pack([], model.shape)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), pack, deterministic=True)["params"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A split, packed once, ready to be scored as often as needed.

    Attributes:
        predict: ``(params, batch) -> [N, U, C]`` probabilities or real values.
        inspect: The same with a summary of the insides; compiled when it is first asked for.
        examples: The prepared split.
        labels: Its label space.
        plan: Its packs and their shape.
    """

    predict: Predict
    inspect: Inspect
    examples: Sequence[Example]
    labels: LabelSpace | ValueSpace
    plan: EvaluationPlan

    @classmethod
    def build(
        cls, model: Model, plan: EvaluationPlan, examples: Sequence[Example], labels: LabelSpace | ValueSpace
    ) -> "Evaluator":
        """Prepares the evaluation of a model.

        Args:
            model: Takes packs of the plan's shape.
            plan: ``plan_evaluation`` of the split.
            examples: The prepared split.
            labels: Its label space.
        """
        return cls(
            predict=make_predict(model), inspect=make_inspect(model), examples=examples, labels=labels, plan=plan
        )

    def outputs(self, params: Any) -> list[np.ndarray]:
        """Returns ``[turns, C]`` float32 probabilities or real values of every conversation, in the split's order.

        Raises:
            RuntimeError: A turn was predicted not exactly once: a defect of the packing.
        """
        return self._by_conversation(lambda batch: self.predict(params, batch))

    def outputs_and_insides(self, params: Any) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
        """Returns what ``outputs`` does and, for every conversation, what ``Model.summarise`` says of its turns.

        Both come from the same pass. Names map to ``[turns]``.
        """
        both = self._by_conversation(lambda batch: self.inspect(params, batch))
        return [outputs for outputs, _ in both], [insides for _, insides in both]

    def _by_conversation(self, run: Callable[[Batch], Any]) -> list[Any]:
        """Runs all packs; returns for every conversation the result's arrays, cut down to its turns."""
        result: list[Any] = [None] * len(self.examples)
        for pack in self.plan.packs:
            batch = jax.tree.map(lambda x: x[None], build_planned(self.examples, pack, self.plan.shape))
            found = jax.tree.map(lambda x: np.asarray(x)[0], run(batch))
            for number, index in enumerate(pack.members):
                (slots,) = np.nonzero(batch.conversation_U[0] == number)
                if result[index] is not None or len(slots) != len(self.examples[index].labels):
                    raise RuntimeError(f"conversation {index}: expected every turn to be predicted exactly once")
                result[index] = jax.tree.map(lambda x, slots=slots: x[slots], found)
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
