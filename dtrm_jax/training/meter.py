"""Measurements of training: the mean loss of steps, learning rates, throughput."""

import bisect
import math
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from dtrm_jax.batch import Batch
from dtrm_jax.errors import InputError
from dtrm_jax.training import optimizer as optimizer_lib
from dtrm_jax.training.log import Bar, TrainingLog
from dtrm_jax.training.setup import Experiment
from dtrm_jax.training.step import Sums

_SKIPPED = 4  # place in the sums


def runs_ahead() -> bool:
    """Whether a step is dispatched before the sums of the one before it are read.

    An accelerator then never waits for the host. On the CPU both use the same cores: it would save no time, and every
    step in flight has temporaries of its own, gigabytes of them.
    """
    return jax.default_backend() != "cpu"


class Meter:
    """Collects steps and logs their mean, one step behind the device where steps run ahead."""

    def __init__(
        self,
        experiment: Experiment,
        log: TrainingLog | None,
        bar: Bar,
        *,
        diverged: Callable[[int, str], InputError],
        unlogged: Sequence[float] = (),
        skipped: int = 0,
    ):
        """Begins, or goes on where another one stopped.

        Args:
            experiment: What is trained.
            log: Gets the means.
            bar: Shows them.
            diverged: Returns the error for a step and what is wrong with it.
            unlogged: Of the other one.
            skipped: Of the other one.
        """
        self._every, self._log, self._bar = experiment.config.train.log_every_steps, log, bar
        self._task = experiment.task
        self._epoch_ends, total = experiment.plan.epoch_ends, len(experiment.plan.steps)
        settings = experiment.config.optimizer
        self._rates = {
            name: optimizer_lib.schedule(peak, settings, total)
            for name, peak in (
                ("learning_rate", settings.learning_rate),
                ("encoder_learning_rate", settings.encoder_learning_rate),
            )
        }
        self._waiting: tuple[int, Sums, int] | None = None
        self._sums = np.asarray(unlogged) if len(unlogged) else _nothing()
        self._diverged, self._may_skip = diverged, experiment.config.train.skip_nonfinite_steps
        self.skipped = skipped
        self._compiled = False
        self.begin_stretch()

    @property
    def unlogged(self) -> list[float]:
        """The sums of the steps that have been read since the last record, for a meter that goes on from here."""
        return self._sums.tolist() if self._sums.any() else []

    def begin_stretch(self) -> None:
        """Starts a stretch of steps without evaluation or saving, over which throughput is measured."""
        self._turns, self._tokens, self._began = 0.0, 0, time.perf_counter()

    def add(self, step: int, sums: Sums, batch: Batch) -> None:
        """Takes the sums of a step just dispatched; reads them, or where steps run ahead those of the one before."""
        to_read: tuple[int, Sums, int] | None = (step, sums, int((batch.sequence_ids_T >= 0).sum()))
        if runs_ahead():
            to_read, self._waiting = self._waiting, to_read
        if to_read is not None:
            self._read(*to_read)

    def settle(self) -> None:
        """Reads the last step too."""
        if self._waiting is not None:
            self._read(*self._waiting)
            self._waiting = None

    def flush(self) -> None:
        """Reads and logs the last step too, before an evaluation or saving; ``begin_stretch`` is to follow that."""
        self.settle()
        if self._sums.any():
            self._write(self._step)

    def _read(self, step: int, sums: Sums, tokens: int) -> None:
        if sums.skipped is not None and bool(sums.skipped):
            self._note_skipped(step)
            values = _nothing()
            values[_SKIPPED] = 1
        else:
            values = np.asarray([*(float(x) for x in (sums.loss, sums.weight, sums.correct, sums.turns)), 0.0])
        if not np.isfinite(values).all():
            raise self._diverged(step, "the loss is not finite")
        self._sums += values
        if self._compiled:
            self._turns += values[3]
            self._tokens += tokens * jax.process_count()
        else:  # the first step took as long as it did because it was compiled
            self._compiled = True
            self.begin_stretch()
        self._step = step
        self._bar.update()
        if step % self._every == 0:
            self._write(step)

    def _note_skipped(self, step: int) -> None:
        if self.skipped >= self._may_skip:  # more of them if a run goes on with a lower bound
            raise self._diverged(
                step,
                f"the loss or its gradients are not finite, and {self.skipped} steps were left out before it; "
                f"config.train.skip_nonfinite_steps admits {self._may_skip}",
            )
        self.skipped += 1

    def _write(self, step: int) -> None:
        # Throughput is that of the whole stretch: where steps run ahead, the next one may already have run, which would
        # distort a short one.
        seconds, measured = time.perf_counter() - self._began, self._turns > 0
        loss, weight, correct, turns, skipped = self._sums
        self._sums = _nothing()
        record = {"step": step, "epoch": epoch_of(self._epoch_ends, step), "split": "train"}
        if not skipped or turns:  # else there is nothing to take a mean of
            record |= {"loss": loss / max(weight, 1e-9), **self._task.training_scores(correct, turns)}
        updates = max(step - self.skipped, 1)  # the schedule stands still in a step that is left out
        record |= {name: float(rate(updates - 1)) for name, rate in self._rates.items()}
        if skipped:
            record["skipped"] = int(skipped)
        if measured:
            record["utterances_per_second"] = self._turns / seconds
            record["tokens_per_second"] = self._tokens / seconds
        if self._log is not None:
            self._log.write(record)
        speed = f", {record['utterances_per_second']:.0f} utterances/s" if measured else ""
        self._bar.set_postfix_str(
            f"loss {record.get('loss', math.nan):.3f}, lr {record['learning_rate']:.1e}{speed}",
            refresh=False,  # the bar redraws at its own interval, a slow one where it goes to a file
        )


def _nothing() -> np.ndarray:
    """Returns the sums of no steps: loss, weight, correct, turns, steps left out."""
    return np.zeros(_SKIPPED + 1)


def epoch_of(epoch_ends: Sequence[int], step: int) -> int:
    """Returns the epoch, from 1, that a step belongs to."""
    return bisect.bisect_left(epoch_ends, step) + 1
