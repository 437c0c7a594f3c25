"""This project's train step and input pipeline, as the benchmarks run them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dtrm_jax.batch import Batch
from dtrm_jax.data.pipeline import batches
from dtrm_jax.training import optimizer as optimizer_lib
from dtrm_jax.training import setup
from dtrm_jax.training.step import AXIS, Sums, TrainState, make_train_step, parallelise


class Ours:
    """This project's train step and input pipeline, on one device."""

    def __init__(self, experiment: setup.Experiment, steps: list[list[list[int]]]):
        self.experiment, self.steps = experiment, steps
        settings, shape = experiment.config, experiment.facts.shape
        optimizer = optimizer_lib.build_optimizer(settings.optimizer, experiment.facts.total_steps)
        weights = jnp.asarray(setup.class_weights(experiment))
        model = experiment.model(shape)
        step = make_train_step(model, optimizer, weights, settings.train.label_smoothing, axis_name=AXIS)
        self.train_step = parallelise(step, Mesh(np.asarray(jax.devices()[:1]), (AXIS,)))
        params = setup.initial_params(experiment)
        self.state = TrainState(jnp.zeros((), jnp.int32), params, jax.jit(optimizer.init)(params))
        self.rng = jax.random.key(settings.train.seed)

    def run(self) -> list[float]:
        """Takes all steps; losses are read at the end, so that no step waits for the host."""
        sums = []
        train, shape = self.experiment.train, self.experiment.facts.shape
        for batch in batches(train, self.steps, shape, host=0, hosts=1, prefetch=4):
            sums.append(self.step(batch))
        return [float(s.loss) / max(float(s.weight), 1.0) for s in sums]

    def step(self, batch: Batch) -> Sums:
        """Dispatches one step."""
        self.state, sums = self.train_step(self.state, batch, self.rng)
        return sums
