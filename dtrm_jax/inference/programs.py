"""A model as compiled functions without dropout."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from dtrm_jax.batch import Batch
from dtrm_jax.data.packing.pack import build_pack
from dtrm_jax.models.interface import Model
from dtrm_jax.tasks import Task

Predict = Callable[[Any, Batch], Float[Array, "U C"]]
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


def parameter_shapes(model: Model) -> Any:
    """Returns the model's parameter tree with shapes for leaves; nothing is computed."""
    pack = build_pack([], model.shape)
    return jax.eval_shape(lambda: model.init(jax.random.key(0), pack, deterministic=True)["params"])
