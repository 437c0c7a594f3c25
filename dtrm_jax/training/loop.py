"""The training loop: steps, dev evaluation, checkpoints, resuming."""

import bisect
import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dtrm_jax.batch import Batch
from dtrm_jax.config import Config
from dtrm_jax.conversation import LabelSpace
from dtrm_jax.data.examples import pack_shape
from dtrm_jax.data.packing import Example, measure_fill
from dtrm_jax.data.pipeline import batches
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.evaluator import Evaluator, parameter_shapes
from dtrm_jax.evaluation.metrics import CLASS_METRICS, VALUE_METRICS
from dtrm_jax.run_directory import Checkpoints, RunDirectory, placed, signed
from dtrm_jax.training import optimizer as optimizer_lib
from dtrm_jax.training.log import TrainingLog, progress_bar
from dtrm_jax.training.setup import Experiment, initial_params, prepare, pure_step
from dtrm_jax.training.step import AXIS, Sums, TrainState, initial_state, parallelise

PREFETCH = 4  # batches; one takes a millisecond to build


class Interrupted(Exception):
    """SIGINT or SIGTERM ended training after a checkpoint was written."""

    def __init__(self, signal_number: int, step: int):
        super().__init__(f"interrupted at step {step}; the same command resumes there")
        self.signal_number = signal_number


@dataclasses.dataclass
class Progress:
    """What besides the train state must survive an interruption.

    Attributes:
        best_score: Best dev score so far, or None before the first evaluation.
        best_step: Its step.
        stale: Evaluations since then.
        stopped: Early stopping has ended the run.
        data: Grain's iterator state.
        rng: The key of dropout, as its raw words.
    """

    best_score: float | None = None
    best_step: int | None = None
    stale: int = 0
    stopped: bool = False
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    rng: list[int] = dataclasses.field(default_factory=list)


def train(config: Config, workdir: str) -> Progress:
    """Trains, or resumes, the run of ``config`` in ``workdir``.

    Raises:
        InputError: Bad data, weights or settings, a directory of another run or of one that another process trains, a
            diverged loss, a full disk.
        Interrupted: A signal ended it, after a checkpoint; the last one, if it came that late.
    """
    run = RunDirectory(workdir)
    experiment = prepare(config)
    trainer = Trainer(experiment, run)
    if not trainer.is_main:
        return trainer.run()
    with run.locked():
        run.begin(config, experiment.facts, experiment.tokenizer, experiment.normalization)
        trainer.describe()
        return trainer.run()


class Trainer:
    """One process's part of a run."""

    def __init__(self, experiment: Experiment, run: RunDirectory):
        config = experiment.config
        self.experiment, self.config, self.run_directory = experiment, config, run
        self.total = len(experiment.plan.steps)
        self.mesh = _mesh(config.packing.packs_per_step)
        self.optimizer, train_step = pure_step(experiment)
        self.train_step = parallelise(train_step, self.mesh)
        self.dev = self._evaluator(experiment.dev)
        self.test = self._evaluator(experiment.test) if config.train.score_test else None
        self.rng = jax.random.fold_in(jax.random.key(config.train.seed), 1)
        self.is_main = jax.process_index() == 0

    def describe(self) -> None:
        """Prints what is about to be trained, in a few lines."""
        facts, plan = self.experiment.facts, self.experiment.plan
        lengths = [example.lengths for example in self.experiment.train]
        about = f"{facts.corpus}: {len(lengths)} conversations, {sum(map(len, lengths))} turns"
        if facts.encoder is None:
            print(f"{about} to train on, in packs of {facts.shape.utterances} turns")
        else:
            fill = measure_fill(lengths * len(plan.epoch_ends), plan.packs, facts.shape, facts.encoder.hidden_size)
            rows = " + ".join(f"{count} x {length}" for length, count in facts.shape.rows)
            print(f"{about}, {sum(map(sum, lengths))} tokens to train on")
            print(
                f"packs of {rows} tokens and {facts.shape.utterances} turns; filled to {fill.tokens:.3f} with real "
                f"tokens, {fill.work:.3f} of the encoder's work is on them ({fill.attention:.3f} of its attention "
                "scores)"
            )
        if facts.shape.features:
            sizes = " and ".join(f"{size} {name}" for name, size in facts.shape.features)
            print(f"{sizes} features a turn")
        print(
            f"{self.total} steps in {len(plan.epoch_ends)} epochs on {self.mesh.size} {jax.default_backend()} device(s)"
        )

    def run(self) -> Progress:
        """Trains to the end; see ``train``."""
        checkpoints = self.run_directory.checkpoints(self.config.train.select_by)
        try:
            return self._run(checkpoints)
        finally:
            checkpoints.close()

    def _run(self, checkpoints: Checkpoints) -> Progress:
        state, progress, start = self._start(checkpoints)
        if start == self.total or progress.stopped:
            self._say(f"this run is complete: best dev {self.config.train.select_by} {progress.best_score:.4f}")
            return progress
        plan, shape = self.experiment.plan, self.experiment.facts.shape
        hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
        iterator = batches(self.experiment.train, plan.steps, shape, **hosts, prefetch=PREFETCH)
        if progress.data:
            iterator.set_state(progress.data)
        with (
            TrainingLog(self.run_directory, start) if self.is_main else contextlib.nullcontext() as log,
            progress_bar(self.total, start, self.config.name, shown=self.is_main) as bar,
            _signals() as received,
        ):
            meter = _Meter(self.experiment, log, bar)
            for step in range(start + 1, self.total + 1):
                batch = next(iterator)
                state, sums = self.train_step(state, self._on_devices(batch), self.rng)
                meter.add(step, sums, batch)
                scores = None
                if self._evaluates_after(step):
                    meter.flush()
                    scores = self._evaluate(state, step, progress, log)
                last = step == self.total or progress.stopped or bool(received)
                if scores is not None or last or _every(self.config.train.save_every_steps, step):
                    meter.flush()
                    progress.data = iterator.get_state()
                    checkpoints.save(step, state, dataclasses.asdict(progress), scores)
                if received:
                    checkpoints.wait()
                    raise Interrupted(received[0], step)
                if last:
                    break
        return progress

    def _start(self, checkpoints: Checkpoints) -> tuple[TrainState, Progress, int]:
        """Returns the newest state, progress and step: a checkpoint's, or the initial ones."""
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        create = jax.jit(lambda params: initial_state(params, self.optimizer), out_shardings=everywhere)
        step = checkpoints.latest()
        if step is None:
            rng = np.asarray(jax.random.key_data(self.rng)).tolist()
            return create(initial_params(self.experiment)), Progress(rng=rng), 0
        params = parameter_shapes(self.experiment.model(self.experiment.facts.shape))
        restored = checkpoints.restore(step, placed(jax.eval_shape(create, params), everywhere))
        progress = Progress(**restored.progress)
        self.rng = jax.random.wrap_key_data(np.asarray(progress.rng, np.uint32))
        self._say(f"resuming at step {step} of {self.total}")
        return restored.state, progress, step

    def _evaluator(self, examples: list[Example]) -> Evaluator:
        experiment = self.experiment
        labels = experiment.dataset.labels
        shape = pack_shape(examples, labels, experiment.normalization, self.config)
        return Evaluator.build(experiment.model(shape), examples, labels)

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
        epoch = _epoch(self.experiment.plan.epoch_ends, step)
        named = {name.replace("_f1", " F1").replace("_", " "): value for name, value in scores.items()}
        shown = "  ".join(f"{name} {value:.4f}" for name, value in named.items())
        self._say(f"step {step:>6}  epoch {epoch:>3}  dev {shown}{'  (best)' if better else ''}")
        return scores

    def _score(
        self, split: str, evaluator: Evaluator, params: Any, step: int, log: TrainingLog | None
    ) -> dict[str, float]:
        """Scores a split and logs it."""
        began = time.perf_counter()
        metrics = evaluator.score(evaluator.outputs(params))
        seconds = time.perf_counter() - began
        if isinstance(self.experiment.dataset.labels, LabelSpace):
            names, single = CLASS_METRICS, {f"f1_{name}": row["f1"] for name, row in metrics["per_class"].items()}
        else:
            names, rows = VALUE_METRICS, metrics["per_target"].items()
            single = {f"{metric}_{name}": row[metric] for name, row in rows for metric in VALUE_METRICS}
        scores = {name: metrics[name] for name in ("loss", *names)}
        if log is not None:
            about = {"step": step, "epoch": _epoch(self.experiment.plan.epoch_ends, step), "split": split}
            log.write({**about, **scores, **single, "n": metrics["n"], "seconds": seconds})
        return scores

    def _note_score(self, score: float, step: int, progress: Progress) -> bool:
        """Updates ``progress`` with a dev score; returns whether it is the best so far."""
        metric = self.config.train.select_by
        better = progress.best_score is None or signed(metric, score) > signed(metric, progress.best_score)
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


def runs_ahead() -> bool:
    """Whether a step is dispatched before the sums of the one before it are read.

    An accelerator then never waits for the host. On the CPU both are the same cores: it would save no time, and every
    step in flight has temporaries of its own, gigabytes of them.
    """
    return jax.default_backend() != "cpu"


class _Meter:
    """Collects steps and logs their mean, one step behind the device where steps run ahead."""

    def __init__(self, experiment: Experiment, log: TrainingLog | None, bar: tqdm.tqdm):
        self._every, self._log, self._bar = experiment.config.train.log_every_steps, log, bar
        self._classes = isinstance(experiment.dataset.labels, LabelSpace)
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
        self._turns += values[3]
        self._tokens += tokens * jax.process_count()
        self._step = step
        self._bar.update()
        if step % self._every == 0:
            self._write(step)

    def _write(self, step: int) -> None:
        # Throughput is that of the whole stretch: where steps run ahead, the next one may already have run, which would
        # distort a short one.
        seconds = time.perf_counter() - self._began
        loss, weight, correct, turns = self._sums
        self._sums = np.zeros(4)
        record = {
            "step": step,
            "epoch": _epoch(self._epoch_ends, step),
            "split": "train",
            "loss": loss / max(weight, 1e-9),
            **({"accuracy": correct / max(turns, 1)} if self._classes else {}),
            **{name: float(rate(step - 1)) for name, rate in self._rates.items()},
            "utterances_per_second": self._turns / seconds,
            "tokens_per_second": self._tokens / seconds,
        }
        if self._log is not None:
            self._log.write(record)
        self._bar.set_postfix_str(
            f"loss {record['loss']:.3f}, lr {record['learning_rate']:.1e}, "
            f"{record['utterances_per_second']:.0f} utterances/s",
            refresh=False,  # the bar redraws at its own interval, a slow one where it goes to a file
        )


def _every(interval: int, step: int) -> bool:
    return interval > 0 and step % interval == 0


def _epoch(epoch_ends: list[int], step: int) -> int:
    """The epoch, from 1, that a step belongs to."""
    return bisect.bisect_left(epoch_ends, step) + 1


def _mesh(packs_per_step: int) -> Mesh:
    """A mesh over all devices, or over as many local ones as the packs of a step can be shared among equally."""
    devices = jax.devices()
    if packs_per_step % len(devices) == 0:
        return Mesh(np.asarray(devices), (AXIS,))
    if jax.process_count() > 1:
        raise InputError(
            f"config.packing.packs_per_step: expected a multiple of the {len(devices)} devices of all processes, "
            f"found {packs_per_step}"
        )
    count = max(n for n in range(1, len(devices) + 1) if packs_per_step % n == 0)
    print(f"using {count} of {len(devices)} devices: config.packing.packs_per_step is {packs_per_step}")
    return Mesh(np.asarray(devices[:count]), (AXIS,))


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of dying of them; a second SIGINT is the usual KeyboardInterrupt."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not the main thread: signals are somebody else's
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
