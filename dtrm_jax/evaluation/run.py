"""Evaluates a checkpoint from its run directory alone."""

import dataclasses
from pathlib import Path
from typing import Any

from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, ValueSpace
from dtrm_jax.data import protocol
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.data.plans import EvaluationPlan, plan_evaluation
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.analyse import analyse
from dtrm_jax.evaluation.destination import destination, make_room, other_source
from dtrm_jax.evaluation.evaluator import Evaluator
from dtrm_jax.evaluation.files import predictions, results
from dtrm_jax.evaluation.files.stamp import stamp
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.inference.trained import Trained
from dtrm_jax.json_file import write_json
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestoredRun:
    """A checkpoint and a split, ready to be used together.

    Attributes:
        corpus: Name of the dataset.
        trained: The model, with the parameters of the checkpoint.
        conversations: The split.
        examples: The same, prepared.
        plan: Its packs and their shape.
        data: ``fingerprint`` of the dataset.
        source: Name of the dataset's source if it is not what the run was trained on, else None.
        notes: What people should know of the split, a line each.
    """

    corpus: str
    trained: Trained
    conversations: tuple[Conversation, ...]
    examples: list[Example]
    plan: EvaluationPlan
    data: dict[str, str]
    source: str | None
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        task: The kind of emotions that was predicted.
        metrics: The content of ``metrics.json``.
        analysis: The content of ``analysis.json``. If None, the task has none.
        folder: Where both are, with ``predictions.csv``.
        notes: What people should know of the split and of the folder, a line each.
    """

    task: Task
    metrics: dict[str, Any]
    analysis: dict[str, Any] | None
    folder: Path
    notes: tuple[str, ...]


def evaluate_run(
    run: RunDirectory,
    *,
    split: str = "test",
    checkpoint: str = "best",
    source: str | None = None,
    name: str | None = None,
) -> Evaluation:
    """Scores a checkpoint on a split and writes ``predictions.csv`` and ``metrics.json``.

    They go to ``eval/<split>/``, or to ``eval/<split>@<name>/`` if the data is not what the run was trained on.
    Classes are also analysed, from ``predictions.csv`` alone, as anyone can repeat: ``analysis.json``. From these files
    ``report.write_report`` draws the page. The results of another checkpoint give way, which a note says: before
    files are written its ``metrics.json`` is gone, so that an evaluation that was cut off counts as none.

    Args:
        run: As for ``restore_run``, like the next three.
        split: What to score.
        checkpoint: Which.
        source: Of the data.
        name: ``<name>``. If None, it is that of the data's folder or file, where one is needed.

    Raises:
        InputError: As ``restore_run``, or other data was evaluated under that name.
    """
    restored = restore_run(run, split=split, checkpoint=checkpoint, source=source)
    trained, task = restored.trained, restored.trained.task
    folder = destination(run, split, restored.data, source=restored.source, name=name)
    evaluator = Evaluator.build(trained.model(restored.plan.shape), restored.plan, restored.examples, task)
    outputs, insides = evaluator.outputs_and_insides(trained.params)
    about = {"corpus": restored.corpus, "split": split, "step": trained.step, "checkpoint": checkpoint}
    about |= {"causal": trained.is_causal, "source": restored.source, "data": restored.data, **stamp()}
    metrics = about | evaluator.score(outputs)
    file, notes = folder / "predictions.csv", [*restored.notes, *make_room(folder, trained.step)]
    predictions.write(file, restored.conversations, outputs, task, insides)
    analysis = None
    if task.analysed:
        turns, _ = predictions.read(file)
        analysis = analyse(turns, task)
        write_json(folder / results.ANALYSIS, analysis)
    write_json(folder / results.METRICS, metrics)
    return Evaluation(task, metrics, analysis, folder, tuple(notes))


def restore_run(
    run: RunDirectory, *, split: str = "test", checkpoint: str = "best", source: str | None = None
) -> RestoredRun:
    """Restores a checkpoint from its run directory alone, with a split of its corpus.

    Args:
        run: The run directory, wherever it lies now.
        split: train, dev or test.
        checkpoint: "best" (by the dev metric), "latest" or a step.
        source: Folder of the raw files, if it is not the one the run was trained with.

    Raises:
        InputError: The directory is not a run, the checkpoint or the split does not exist, or the data has other
            emotions than the run was trained on.
    """
    trained = read_trained(run, checkpoint=checkpoint)
    config, labels = trained.config, trained.manifest.labels
    dataset = _load(run, config, labels, source, split)
    examples = make_examples(dataset.splits[split], labels, trained.tokenizer, trained.normalization, config)
    plan = plan_evaluation(examples, config)
    data = fingerprint(dataset)
    notes = trained.normalization.describe_far({split: dataset.splits[split]})
    named = other_source(config.data, trained.manifest.data, data, source)
    if named is not None and split == "dev" and dataset.dev_drawn:
        notes.append(f"dev was drawn anew from {named}: it may hold conversations that the run was trained on")
    return RestoredRun(
        corpus=dataset.name,
        trained=trained,
        conversations=dataset.splits[split],
        examples=examples,
        plan=plan,
        data=data,
        source=named,
        notes=tuple(notes),
    )


def _load(
    run: RunDirectory, config: Config, labels: LabelSpace | ValueSpace, source: str | None, split: str
) -> Dataset:
    """Returns the run's corpus, or the one in ``source``, if it has the run's emotions and the split."""
    if source is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    dataset = protocol.load(config)
    if dataset.labels != labels:
        raise InputError(
            f"{run.path}: trained on {', '.join(labels.names)}, the data has {', '.join(dataset.labels.names)}"
        )
    if not dataset.splits.get(split):
        raise InputError(f"{dataset.name}: expected a split of {', '.join(dataset.splits)}, found {split!r}")
    return dataset
