"""Runs a model over a split, pack by pack, and scores it."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from dtrm_jax.batch import Batch
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing import build_planned
from dtrm_jax.data.plans import EvaluationPlan
from dtrm_jax.inference.compiled import Inspect, Predict, make_inspect, make_predict
from dtrm_jax.models.interface import Model
from dtrm_jax.tasks import Targets, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A split, packed once, ready to be scored as often as needed.

    Attributes:
        predict: ``(params, pack) -> [U, C]`` probabilities or real values.
        inspect: The same with a summary of the insides; compiled when it is first asked for.
        examples: The prepared split.
        task: What is predicted.
        plan: Its packs and their shape.
    """

    predict: Predict
    inspect: Inspect
    examples: Sequence[Example]
    task: Task
    plan: EvaluationPlan

    @classmethod
    def build(cls, model: Model, plan: EvaluationPlan, examples: Sequence[Example], task: Task) -> "Evaluator":
        """Prepares the evaluation of a model.

        Args:
            model: Takes packs of the plan's shape.
            plan: ``plan_evaluation`` of the split.
            examples: The prepared split.
            task: What is predicted.
        """
        return cls(
            predict=make_predict(model, task),
            inspect=make_inspect(model, task),
            examples=examples,
            task=task,
            plan=plan,
        )

    def outputs(self, params: Any) -> list[np.ndarray]:
        """Returns ``[L, C]`` float32 probabilities or real values of every conversation, in the split's order.

        Raises:
            RuntimeError: A turn was not predicted exactly once, which is a defect of the packing.
        """
        return self._by_conversation(lambda pack: self.predict(params, pack))

    def outputs_and_insides(self, params: Any) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
        """Returns the result of ``outputs`` and, for every conversation, the model's summary of its turns.

        Both come from the same pass. The summary maps names to ``[L]``.
        """
        both = self._by_conversation(lambda pack: self.inspect(params, pack))
        return [outputs for outputs, _ in both], [insides for _, insides in both]

    def score(self, outputs: Sequence[np.ndarray]) -> dict[str, Any]:
        """Returns the metrics over every annotated turn of the split, each counted once."""
        labels = np.concatenate([example.labels for example in self.examples])
        values = np.concatenate([example.values for example in self.examples])
        return self.task.score(Targets(labels, values), np.concatenate(outputs))

    def _by_conversation(self, run: Callable[[Batch], Any]) -> list[Any]:
        return by_conversation(self.plan, self.examples, run)


def by_conversation(plan: EvaluationPlan, examples: Sequence[Example], run: Callable[[Batch], Any]) -> list[Any]:
    """Runs all packs of a plan.

    Args:
        plan: ``plan_evaluation`` of the examples.
        examples: The prepared conversations.
        run: Maps a pack to arrays ``[U, ...]``, or to a tree of them.

    Returns:
        For every conversation, the result's arrays, cut down to its turns, ``[L, ...]``.

    Raises:
        RuntimeError: A turn did not come exactly once, which is a defect of the packing.
    """
    result: list[Any] = [None] * len(examples)
    for planned in plan.packs:
        pack = build_planned(examples, planned, plan.shape)
        found = jax.tree.map(np.asarray, run(pack))
        for number, index in enumerate(planned.members):
            (slots,) = np.nonzero(pack.conversation_U == number)
            if result[index] is not None or len(slots) != len(examples[index].labels):
                raise RuntimeError(f"conversation {index}: expected every turn to be predicted exactly once")
            result[index] = jax.tree.map(lambda x, slots=slots: x[slots], found)
    missing = [index for index, turns in enumerate(result) if turns is None]
    if missing:
        raise RuntimeError(f"conversations {missing[:5]} were never predicted")
    return result
