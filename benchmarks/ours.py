"""This project's train step and input pipeline, as the benchmarks run them."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from dtrm_jax.batch import Batch
from dtrm_jax.data.packing.epochs import Step
from dtrm_jax.data.pipeline import batches
from dtrm_jax.training import setup
from dtrm_jax.training.loop import PREFETCH
from dtrm_jax.training.meter import runs_ahead
from dtrm_jax.training.step import AXIS, Sums, initial_state, parallelise


def one_device() -> Mesh:
    """The mesh that everything is measured on."""
    return Mesh(np.asarray(jax.devices()[:1]), (AXIS,))


class Ours:
    """This project's train step and input pipeline, on one device."""

    def __init__(self, experiment: setup.Experiment, steps: Sequence[Step]):
        self.experiment, self.steps = experiment, steps
        optimizer, step = setup.pure_step(experiment)
        self.train_step = parallelise(step, one_device())
        self.state = jax.jit(lambda params: initial_state(params, optimizer))(setup.initial_params(experiment))
        self.rng = jax.random.key(experiment.config.train.seed)

    def batches(self) -> Iterator[Batch]:
        """Assembles the batches of all steps, ahead of them."""
        return batches(
            self.experiment.train, self.steps, self.experiment.manifest.shape, host=0, hosts=1, prefetch=PREFETCH
        )

    def run(self) -> list[float]:
        """Takes all steps; on the CPU, as in training, one at a time. The losses are read at the end."""
        sums: list[Sums] = []
        for batch in self.batches():
            sums.append(self.step(batch))
            if not runs_ahead():
                jax.block_until_ready(sums[-1])
        return [float(s.loss) / max(float(s.weight), 1.0) for s in sums]

    def step(self, batch: Batch) -> Sums:
        """Dispatches one step."""
        self.state, sums = self.train_step(self.state, batch, self.rng)
        return sums
