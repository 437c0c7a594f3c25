"""A model as compiled functions without dropout."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch
from dtrm_jax.data.packing.pack import build_pack
from dtrm_jax.models.interface import Model
from dtrm_jax.models.layers.memory import MEMORY
from dtrm_jax.tasks import Task

Predict = Callable[[Any, Batch], Float[Array, "U C"]]
Step = Callable[[Any, Any, Batch], tuple[Float[Array, "U C"], Any, dict[str, Array]]]
Inspect = Callable[[Any, Batch], tuple[Float[Array, "U C"], dict[str, Array]]]


def make_predict(model: Model, task: Task) -> Predict:
    """Returns the compiled ``predict(params, pack)``, without dropout.

    Its result is every utterance slot's probabilities of the classes, or the real values.
    """

    @jax.jit
    def predict(params: Any, pack: Batch) -> Float[Array, "U C"]:
        return task.finish(model.apply({"params": params}, pack, deterministic=True))

    return predict


def make_inspect(model: Model, task: Task) -> Inspect:
    """Returns the compiled ``inspect(params, pack)``: ``predict``'s result and the model's summary, name -> ``[U]``."""

    @jax.jit
    def inspect(params: Any, pack: Batch) -> tuple[Float[Array, "U C"], dict[str, Array]]:
        output_UxC, sown = model.apply({"params": params}, pack, deterministic=True, mutable=["intermediates"])
        return task.finish(output_UxC), model.summarise(sown.get("intermediates", {}), pack)

    return inspect


def make_step(model: Model, task: Task, *, insides: bool) -> Step:
    """Returns the compiled ``step(params, memory, pack)``: as ``predict``, what the model then remembers, a summary.

    The pack goes on where the one ended after which the model remembered ``memory``. The summary is that of
    ``make_inspect``, or empty if the insides are not wanted.
    """
    collections = [MEMORY, "intermediates"] if insides else [MEMORY]

    @jax.jit
    def step(params: Any, memory: Any, pack: Batch) -> tuple[Float[Array, "U C"], Any, dict[str, Array]]:
        variables = {"params": params, MEMORY: memory}
        output_UxC, changed = model.apply(variables, pack, deterministic=True, mutable=collections)
        summary = model.summarise(changed.get("intermediates", {}), pack) if insides else {}
        return task.finish(output_UxC), changed.get(MEMORY, {}), summary

    return step


def no_memory(model: Model) -> Any:
    """Returns what a model that goes on remembers before the first turn: zeros."""
    pack = build_pack([], model.shape)

    def remembered() -> Any:
        variables = model.init(jax.random.key(0), pack, deterministic=True)
        return model.apply({"params": variables["params"]}, pack, deterministic=True, mutable=MEMORY)[1]

    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(remembered).get(MEMORY, {}))


def parameter_shapes(model: Model) -> Any:
    """Returns the model's parameter tree with shapes for leaves; nothing is computed."""
    pack = build_pack([], model.shape)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), pack, deterministic=True)["params"])
