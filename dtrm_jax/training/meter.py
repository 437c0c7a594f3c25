"""Measurements of training: the mean loss of steps, learning rates, throughput."""

import bisect
import time
from collections.abc import Sequence

import jax
import numpy as np

from dtrm_jax.batch import Batch
from dtrm_jax.errors import InputError
from dtrm_jax.training import optimizer as optimizer_lib
from dtrm_jax.training.log import Bar, TrainingLog
from dtrm_jax.training.setup import Experiment
from dtrm_jax.training.step import Sums


def runs_ahead() -> bool:
    """Whether a step is dispatched before the sums of the one before it are read.

    An accelerator then never waits for the host. On the CPU both use the same cores: it would save no time, and every
    step in flight has temporaries of its own, gigabytes of them.
    """
    return jax.default_backend() != "cpu"


class Meter:
    """Collects steps and logs their mean, one step behind the device where steps run ahead."""

    def __init__(self, experiment: Experiment, log: TrainingLog | None, bar: Bar):
        self._every, self._log, self._bar = experiment.config.train.log_every_steps, log, bar
        self._task = experiment.task
        self._epoch_ends, total = experiment.plan.epoch_ends, len(experiment.plan.steps)
        settings = experiment.config.optimizer
        self._rates = {
            name: optimizer_lib.schedule(peak, settings.warmup_steps, total)
            for name, peak in (
                ("learning_rate", settings.learning_rate),
                ("encoder_learning_rate", settings.encoder_learning_rate),
            )
        }
        self._waiting: tuple[int, Sums, int] | None = None
        self._sums = np.zeros(4)
        self._compiled = False
        self._begin_segment()

    def _begin_segment(self) -> None:
        """Starts a stretch of steps without evaluation or saving, over which throughput is measured."""
        self._turns, self._tokens, self._began = 0.0, 0, time.perf_counter()

    def add(self, step: int, sums: Sums, batch: Batch) -> None:
        """Takes the sums of a step just dispatched; reads them, or where steps run ahead those of the one before."""
        to_read: tuple[int, Sums, int] | None = (step, sums, int((batch.sequence_ids_T >= 0).sum()))
        if runs_ahead():
            to_read, self._waiting = self._waiting, to_read
        if to_read is not None:
            self._read(*to_read)

    def flush(self) -> None:
        """Reads the last step too, so that no time of evaluation or saving is counted as training."""
        if self._waiting is not None:
            self._read(*self._waiting)
            self._waiting = None
        if self._sums[3]:
            self._write(self._step)
        self._begin_segment()

    def _read(self, step: int, sums: Sums, tokens: int) -> None:
        values = np.asarray([float(x) for x in (sums.loss, sums.weight, sums.correct, sums.turns)])
        if not np.isfinite(values).all():
            raise InputError(f"step {step}: the loss is not finite; lower the learning rates or clip the gradients")
        self._sums += values
        if self._compiled:
            self._turns += values[3]
            self._tokens += tokens * jax.process_count()
        else:  # the first step took as long as it did because it was compiled
            self._compiled = True
            self._begin_segment()
        self._step = step
        self._bar.update()
        if step % self._every == 0:
            self._write(step)

    def _write(self, step: int) -> None:
        # Throughput is that of the whole stretch: where steps run ahead, the next one may already have run, which would
        # distort a short one.
        seconds, measured = time.perf_counter() - self._began, self._turns > 0
        loss, weight, correct, turns = self._sums
        self._sums = np.zeros(4)
        record = {
            "step": step,
            "epoch": epoch_of(self._epoch_ends, step),
            "split": "train",
            "loss": loss / max(weight, 1e-9),
            **self._task.training_scores(correct, turns),
            **{name: float(rate(step - 1)) for name, rate in self._rates.items()},
        }
        if measured:
            record["utterances_per_second"] = self._turns / seconds
            record["tokens_per_second"] = self._tokens / seconds
        if self._log is not None:
            self._log.write(record)
        speed = f", {record['utterances_per_second']:.0f} utterances/s" if measured else ""
        self._bar.set_postfix_str(
            f"loss {record['loss']:.3f}, lr {record['learning_rate']:.1e}{speed}",
            refresh=False,  # the bar redraws at its own interval, a slow one where it goes to a file
        )


def epoch_of(epoch_ends: Sequence[int], step: int) -> int:
    """Returns the epoch, from 1, that a step belongs to."""
    return bisect.bisect_left(epoch_ends, step) + 1
