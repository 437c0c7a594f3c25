"""The training loop: steps, dev evaluation, checkpoints, resuming."""

import contextlib
import dataclasses
import functools
import time
from typing import Any

import jax
import numpy as np
import tqdm
from jax.sharding import NamedSharding, PartitionSpec

from dtrm_jax.batch import Batch
from dtrm_jax.config import Config
from dtrm_jax.data import overview
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing import measure_fill
from dtrm_jax.data.pipeline import batches
from dtrm_jax.data.plans import plan_evaluation
from dtrm_jax.errors import printable
from dtrm_jax.evaluation.evaluator import Evaluator
from dtrm_jax.host_memory import give_back_if_much, give_back_if_very_much
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.models import architecture
from dtrm_jax.models.interface import NOT_CAUSAL
from dtrm_jax.provenance import provenance
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.checkpoints import Checkpoints, placed
from dtrm_jax.run_directory.starts import add_start
from dtrm_jax.tasks import METRICS
from dtrm_jax.training.devices import mesh_of
from dtrm_jax.training.extension import describe, lengthened
from dtrm_jax.training.health import Watch, ailment
from dtrm_jax.training.log import TrainingLog, progress_bar
from dtrm_jax.training.loggers import named
from dtrm_jax.training.meter import Meter, epoch_of
from dtrm_jax.training.optimizer import describe_schedule
from dtrm_jax.training.progress import Progress
from dtrm_jax.training.setup import Experiment, initial_params, prepare, pure_step
from dtrm_jax.training.signals import Interrupted, Signals, collected_signals
from dtrm_jax.training.step import AXIS, TrainState, initial_state, parallelise
from dtrm_jax.training.suspicion import suspicion

PREFETCH = 4  # batches; one takes a millisecond to build


@dataclasses.dataclass(frozen=True)
class Finished:
    """A training that came to its end.

    Attributes:
        progress: How it went.
        scorable: The splits whose turns have annotations.
    """

    progress: Progress
    scorable: tuple[str, ...]


def train(config: Config, workdir: str, *, extend: bool = True) -> Finished:
    """Trains, or resumes, the run of ``config`` in ``workdir``.

    Args:
        config: Of the run.
        workdir: Its directory.
        extend: Whether a run that has come to its end may go on with more epochs. It is then not what it would have
            been with all of them from the start.

    Raises:
        InputError: Bad data, weights or settings, a directory of another run or of one that another process trains, a
            diverged loss, a full disk.
        Interrupted: A signal ended it, after a checkpoint; the last one, if it came that late.
    """
    named(config)
    run = RunDirectory(workdir)
    run.require_resumable()
    experiment = prepare(config, run)
    trainer = Trainer(experiment, run)
    if not trainer.is_main:
        return Finished(trainer.run(), experiment.scorable)
    with run.locked():
        manifest, config, extension = experiment.manifest, experiment.config, None
        if extend:
            manifest, extension = lengthened(run, config, manifest)
        run.begin(config, manifest, experiment.tokenizer, experiment.normalization)
        trainer.describe()
        if extension is not None:
            print(describe(extension, config))
        return Finished(trainer.run(), experiment.scorable)


class Trainer:
    """One process's part of a run."""

    def __init__(self, experiment: Experiment, run: RunDirectory):
        config = experiment.config
        self.experiment, self.config, self.run_directory = experiment, config, run
        self.total = len(experiment.plan.steps)
        self.mesh = mesh_of(config.packing.packs_per_step)
        self._everywhere = NamedSharding(self.mesh, PartitionSpec())
        self.optimizer, train_step = pure_step(experiment)
        self.train_step = parallelise(train_step, self.mesh)
        self.dev = self._evaluator(experiment.dev)
        self.test = self._evaluator(experiment.test) if config.train.score_test else None
        self.rng = jax.random.fold_in(jax.random.key(config.train.seed), 1)
        self.is_main = jax.process_index() == 0
        self.suspected = False

    def describe(self) -> None:
        """Prints what is about to be trained, in a few lines."""
        manifest, plan, dataset = self.experiment.manifest, self.experiment.plan, self.experiment.dataset
        prepared = {"train": self.experiment.train, "dev": self.experiment.dev, "test": self.experiment.test}
        lines = [*dataset.notes, *overview.counts(dataset)]
        lines += [f"look at this: {line}" for line in overview.accidents(dataset, prepared)]
        lines += [f"look at this: {line}" for line in self.experiment.ignored]
        for line in lines:
            print(printable(line))  # names come from files
        lengths = [example.lengths for example in self.experiment.train]
        about = f"{manifest.corpus}: {len(lengths)} conversations, {sum(map(len, lengths))} turns"
        if manifest.encoder is None:
            print(f"{about} to train on, in packs of {manifest.shape.utterances} turns")
        else:
            fill = measure_fill(lengths, plan.packs_per_epoch, manifest.shape, manifest.encoder.hidden_size)
            rows = " + ".join(f"{count} x {length}" for length, count in manifest.shape.rows)
            print(f"{about}, {sum(map(sum, lengths))} tokens to train on")
            print(
                f"packs of {rows} tokens and {manifest.shape.utterances} turns; {100 * fill.tokens:.1f} % of their "
                f"tokens are real, {100 * fill.work:.1f} % of the encoder's work is on them"
            )
        if manifest.shape.features:
            sizes = " and ".join(f"{size} {name}" for name, size in manifest.shape.features)
            print(f"{sizes} features per turn")
        if not architecture(self.config).is_causal(self.config):
            print(NOT_CAUSAL)
        devices = f"{self.mesh.size} device{'s' if self.mesh.size > 1 else ''} ({jax.default_backend()})"
        epochs = len(plan.epoch_ends)
        print(f"{self.total} steps in {epochs} epoch{'s' if epochs > 1 else ''} on {devices}")
        for line in describe_schedule(self.config.optimizer, self.total):
            print(line)

    def run(self) -> Progress:
        """Trains to the end; see ``train``."""
        checkpoints = self.run_directory.checkpoints(self.config.train.ranked_by)
        try:
            return self._run(checkpoints)
        finally:
            checkpoints.close()

    def _run(self, checkpoints: Checkpoints) -> Progress:
        state, progress, start = self._start(checkpoints)
        if start == self.total or progress.stopped:
            metric = METRICS[self.config.train.select_by]
            which = "last" if self.config.train.select_last else "best"
            self._say(f"this run is complete: {which} dev {metric.title} {metric.shown(progress.best_score)}")
            return progress
        self._note_start(start)
        with collected_signals() as signals:
            step = self._steps(state, progress, start, checkpoints, signals)
            checkpoints.wait()  # a signal that comes now is noted too
            if signals.interrupted:
                raise Interrupted(signals.received[0], step)
        if progress.skipped:
            self._say(f"{progress.skipped} of {step} steps were left out: their loss or gradients were not finite")
        return progress

    def _steps(
        self, state: TrainState, progress: Progress, start: int, checkpoints: Checkpoints, signals: Signals
    ) -> int:
        """Trains until the end or a signal, and saves; returns the last step."""
        plan, shape = self.experiment.plan, self.experiment.manifest.shape
        hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
        iterator = batches(self.experiment.train, plan.steps, shape, **hosts, prefetch=PREFETCH)
        if progress.data:
            iterator.set_state(progress.data)
        watch = Watch(self.experiment, checkpoints, start)
        so_far = {"unlogged": progress.unlogged, "skipped": progress.skipped}
        with (
            TrainingLog(self.run_directory, self.config, start) if self.is_main else contextlib.nullcontext() as log,
            progress_bar(self.total, start, self.config.name, shown=self.is_main) as bar,
        ):
            meter, compiled = Meter(self.experiment, log, bar, diverged=watch.diverged, **so_far), False
            for step in range(start + 1, self.total + 1):
                batch = next(iterator)
                state, sums = self.train_step(state, self._on_devices(batch), self.rng)
                meter.add(step, sums, batch)
                give_back_if_very_much()
                scores = None
                if self._evaluates_after(step):
                    meter.flush()
                    watch.check(step, state)
                    give_back_if_much()
                    with contextlib.nullcontext() if compiled else bar.uncounted():
                        scores = self._evaluate(state, step, progress, log)
                    compiled = True
                last = step == self.total or progress.stopped
                planned = scores is not None or last or _every(self.config.train.save_every_steps, step)
                interrupted = signals.end_after(step)
                if planned:
                    meter.flush()
                elif interrupted:
                    meter.settle()  # what was not to be logged yet is logged when the run goes on
                if planned or interrupted:
                    watch.check(step, state)
                    progress.data = iterator.get_state()
                    progress.unlogged, progress.skipped = meter.unlogged, meter.skipped
                    checkpoints.save(step, state, dataclasses.asdict(progress), scores)
                    give_back_if_much()
                    meter.begin_stretch()
                if last or interrupted:
                    return step

    def _start(self, checkpoints: Checkpoints) -> tuple[TrainState, Progress, int]:
        """Returns the newest state, progress and step: a checkpoint's, or the initial ones."""
        for folder in checkpoints.removed:
            self._say(f"{folder}: removed, the rest of a checkpoint whose deletion was interrupted")
        step = checkpoints.latest()
        if step is None:
            rng = np.asarray(jax.random.key_data(self.rng)).tolist()
            return self._create(initial_params(self.experiment, self._say)), Progress(rng=rng), 0
        restored = checkpoints.restore(step, self._saved)
        try:
            progress = Progress.of(restored.progress)
            rng = jax.random.wrap_key_data(np.asarray(progress.rng, np.uint32))
        except (ValueError, TypeError, OverflowError) as error:
            raise checkpoints.unfit(step, error) from error
        if problem := ailment(restored.state):
            raise checkpoints.unfit(step, ValueError(problem))
        if any(step == one.after_step for one in self.run_directory.read_manifest().extensions):
            progress.stopped, progress.stale = False, 0  # early stopping had ended it, and it goes on
        self.rng = rng
        self._say(f"resuming at step {step} of {self.total}")
        return restored.state, progress, step

    def _create(self, params: Any) -> TrainState:
        """Returns the state before the first step, on all devices."""
        return jax.jit(lambda params: initial_state(params, self.optimizer), out_shardings=self._everywhere)(params)

    @functools.cached_property
    def _saved(self) -> TrainState:
        """The shapes of a saved state, and where its arrays are wanted."""
        params = parameter_shapes(self.experiment.model(self.experiment.manifest.shape))
        return placed(jax.eval_shape(self._create, params), self._everywhere)

    def _note_start(self, step: int) -> None:
        if self.is_main and (said := add_start(self.run_directory.starts_file, step, provenance())):
            self._say(said)

    def _evaluator(self, examples: list[Example]) -> Evaluator:
        experiment, plan = self.experiment, plan_evaluation(examples, self.config)
        return Evaluator.build(experiment.model(plan.shape), plan, examples, experiment.task)

    def _evaluates_after(self, step: int) -> bool:
        every = self.config.train.evaluate_every_steps
        ends_epoch = step in self.experiment.plan.epoch_ends
        return step == self.total or (_every(every, step) if every else ends_epoch)

    def _evaluate(self, state: TrainState, step: int, progress: Progress, log: TrainingLog | None) -> dict[str, float]:
        """Scores the dev split, logs it and updates ``progress``; the test split, if it is scored, is only logged."""
        # Every process evaluates on its own copy of the parameters.
        params = jax.tree.map(lambda x: x.addressable_data(0), state.params)
        scores = self._score("dev", self.dev, params, step, log)
        if self.test is not None:
            self._score("test", self.test, params, step, log)
        better = self._note_score(scores[self.config.train.select_by], step, progress)
        epoch = epoch_of(self.experiment.plan.epoch_ends, step)
        ranked = self.experiment.task.ranked_metrics
        shown = "  ".join(f"{metric.title} {metric.shown(scores[metric.name])}" for metric in ranked)
        best = "  (best)" if better and not self.config.train.select_last else ""
        self._say(f"step {step:>6}  epoch {epoch:>3}  dev {shown}  loss {scores['loss']:.4f}{best}")
        if not self.suspected and (said := suspicion(self.experiment, scores, epoch)):
            self.suspected = True
            self._say(said)
        return scores

    def _score(
        self, split: str, evaluator: Evaluator, params: Any, step: int, log: TrainingLog | None
    ) -> dict[str, float]:
        """Scores a split and logs it."""
        began = time.perf_counter()
        metrics = evaluator.score(evaluator.outputs(params))
        seconds = time.perf_counter() - began
        task = self.experiment.task
        scores = {name: metrics[name] for name in ("loss", *(metric.name for metric in task.ranked_metrics))}
        if log is not None:
            about = {"step": step, "epoch": epoch_of(self.experiment.plan.epoch_ends, step), "split": split}
            log.write({**about, **scores, **task.curves(metrics), "n": metrics["n"], "seconds": seconds})
        return scores

    def _note_score(self, score: float, step: int, progress: Progress) -> bool:
        """Updates ``progress`` with a dev score; returns whether it is the best so far, or counts as such."""
        signed = METRICS[self.config.train.select_by].signed
        better = progress.best_score is None or signed(score) > signed(progress.best_score)
        better |= self.config.train.select_last
        if better:
            progress.best_score, progress.best_step, progress.stale = score, step, 0
        else:
            progress.stale += 1
        progress.stopped = 0 < self.config.train.patience <= progress.stale
        return better

    def _say(self, line: str) -> None:
        if self.is_main:
            tqdm.tqdm.write(line)

    def _on_devices(self, batch: Batch) -> Batch:
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)


def _every(interval: int, step: int) -> bool:
    return interval > 0 and step % interval == 0
