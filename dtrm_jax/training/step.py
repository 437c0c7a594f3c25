"""The pure train step and its compilation over a device mesh.

``make_train_step`` returns ``train_step(state, batch, rng) -> (state, sums)``. The same function runs alone, under
``jax.shard_map`` inside ``jax.jit`` (``parallelise``, the default), and under ``jax.pmap(axis_name=...)``.
"""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from dtrm_jax.batch import Batch
from dtrm_jax.models.interface import Model
from dtrm_jax.models.layers.auxiliary import AUXILIARY
from dtrm_jax.tasks import Task

AXIS = "data"


@flax.struct.dataclass
class TrainState:
    """The state that a step changes.

    Attributes:
        step: Steps done.
        params: The model's parameters.
        opt_state: The optimizer's state.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any


@flax.struct.dataclass
class Sums:
    """Sums over the turns that count; divide by ``weight`` or ``turns`` after all merging.

    Attributes:
        loss: Sum of the weighted losses, the model's auxiliary ones included.
        weight: Sum of the loss weights.
        correct: Turns whose prediction is the label; 0 where emotions are real values.
        turns: Turns that count.
        skipped: Whether the step was left out; None if no step ever is.
    """

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    correct: Float[Array, ""]
    turns: Float[Array, ""]
    skipped: Bool[Array, ""] | None = None


TrainStep = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Sums]]


def make_train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    task: Task,
    class_weights_C: Float[Array, " C"],
    label_smoothing: float,
    axis_name: str | None = None,
    *,
    skip_nonfinite: bool = False,
) -> TrainStep:
    """Returns the pure train step.

    Its batch has a leading axis of packs: those of this device, whose gradients are accumulated. Pack ``n`` of step
    ``s`` has the same dropout on every division of the packs among devices, so that one device and eight do the same
    training.

    Args:
        model: Maps a pack to logits, or to real values.
        optimizer: Maps gradients of the mean loss to updates.
        task: What is predicted; has the loss.
        class_weights_C: For the loss.
        label_smoothing: For the loss.
        axis_name: The device axis to sum over. If None, there is a single device.
        skip_nonfinite: Whether a step whose loss or gradients are not finite changes nothing but the number of steps
            done. Else it ruins the parameters.
    """

    def loss_sum(params: Any, pack: Batch, rng: Key[Array, ""]) -> tuple[Array, Sums]:
        def of_task(output_UxC: Array, pack: Batch) -> tuple[Array, Array]:
            return task.loss(output_UxC, pack, class_weights_C, label_smoothing)

        output_UxC, sown = model.apply(
            {"params": params}, pack, deterministic=False, rngs={"dropout": rng}, mutable=[AUXILIARY]
        )
        loss, weight = of_task(output_UxC, pack)
        auxiliary = model.auxiliary_losses(sown.get(AUXILIARY, {}), output_UxC, pack, lambda *of: of_task(*of)[0])
        loss = sum(auxiliary.values(), start=loss)
        return loss, Sums(loss, weight, task.hits(output_UxC, pack), jnp.sum(pack.weight_U))

    of_pack = jax.grad(loss_sum, has_aux=True)

    def of_device(params: Any, batch: Batch, rng: Key[Array, ""]) -> tuple[Any, Sums]:
        packs = batch.label_U.shape[0]
        first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * packs
        rngs = jax.vmap(lambda n: jax.random.fold_in(rng, first + n))(jnp.arange(packs))
        if packs == 1:
            return of_pack(params, jax.tree.map(lambda x: x[0], batch), rngs[0])

        def accumulate(total: tuple[Any, Sums], pack_and_rng: tuple[Batch, Key[Array, ""]]):
            return jax.tree.map(jnp.add, total, of_pack(params, *pack_and_rng)), None

        pack_shapes = jax.eval_shape(of_pack, params, jax.tree.map(lambda x: x[0], batch), rngs[0])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), pack_shapes)
        if axis_name is not None:
            nothing = jax.lax.pcast(nothing, axis_name, to="varying")
        return jax.lax.scan(accumulate, nothing, (batch, rngs))[0]

    def train_step(state: TrainState, batch: Batch, rng: Key[Array, ""]) -> tuple[TrainState, Sums]:
        totals = of_device(state.params, batch, jax.random.fold_in(rng, state.step))
        if axis_name is not None and jax.lax.axis_size(axis_name) > 1:
            totals = jax.lax.psum(totals, axis_name)
        gradients, sums = totals
        gradients = jax.tree.map(lambda g: g / jnp.maximum(sums.weight, jnp.finfo(jnp.float32).tiny), gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        if skip_nonfinite:
            # These are also the squares in Adam's second moments, which are finite if their sum is.
            good = jnp.isfinite(sum_of_squares(gradients)) & jnp.isfinite(sums.loss)
            params, opt_state = jax.tree.map(
                lambda new, old: jnp.where(good, new, old), (params, opt_state), (state.params, state.opt_state)
            )
            sums = sums.replace(skipped=~good)
        return TrainState(state.step + 1, params, opt_state), sums

    return train_step


def sum_of_squares(tree: Any) -> Float[Array, ""]:
    """Returns the sum of the squares of all numbers in a tree of arrays."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(()))


def initial_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def parallelise(train_step: TrainStep, mesh: Mesh) -> TrainStep:
    """Compiles a train step with ``axis_name=AXIS`` over ``mesh``: state replicated and donated, packs shared out.

    Args:
        train_step: From ``make_train_step(..., axis_name=AXIS)``.
        mesh: One axis, ``AXIS``, over all devices.
    """
    everywhere, shared = PartitionSpec(), PartitionSpec(AXIS)
    mapped = jax.shard_map(
        train_step,
        mesh=mesh,
        in_specs=(everywhere, shared, everywhere),
        out_specs=(everywhere, everywhere),
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=0)
