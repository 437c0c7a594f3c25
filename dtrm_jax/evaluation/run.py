"""Evaluates a checkpoint from its run directory alone."""

import dataclasses
from typing import Any

import jax

from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace
from dtrm_jax.data import protocol
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.plans import EvaluationPlan, plan_evaluation
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.analyse import analyse
from dtrm_jax.evaluation.evaluator import Evaluator, parameter_shapes
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.models import build_model
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import RunDirectory, placed


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestoredRun:
    """A checkpoint and a split, ready to be used together.

    Attributes:
        dataset: The corpus, as the run uses it.
        conversations: The split.
        examples: The same, prepared.
        plan: Its packs and their shape.
        model: For packs of that shape.
        params: Of the checkpoint.
        step: Of the checkpoint.
    """

    dataset: Dataset
    conversations: tuple[Conversation, ...]
    examples: list[Example]
    plan: EvaluationPlan
    model: Model
    params: Any
    step: int


def restore_run(run: RunDirectory, split: str, which: str, source: str | None) -> RestoredRun:
    """Restores a checkpoint from its run directory alone, with a split of its corpus.

    Args:
        run: The run directory, wherever it lies now.
        split: train, dev or test.
        which: The checkpoint: "best" (by the dev metric), "latest" or a step.
        source: Folder of the raw files, if it is not the one the run was trained with.

    Raises:
        InputError: The directory is not a run, the checkpoint or the split does not exist, or the data is other data.
    """
    config, facts = run.read_config(), run.read_facts()
    dataset = _load(run, config, source, split)
    tokenizer = run.read_tokenizer() if config.model.reads_text else None
    normalization = run.read_normalization()
    examples = make_examples(dataset.splits[split], facts.labels, tokenizer, normalization, config)
    plan = plan_evaluation(examples, config)
    model = build_model(config, facts.encoder, len(facts.labels), plan.shape)
    step, params = _restore(run, config, model, which)
    return RestoredRun(
        dataset=dataset,
        conversations=dataset.splits[split],
        examples=examples,
        plan=plan,
        model=model,
        params=params,
        step=step,
    )


def evaluate_run(run: RunDirectory, split: str, which: str, source: str | None) -> dict[str, Any]:
    """Scores a checkpoint on a split and writes ``predictions.csv`` and ``metrics.json`` to ``eval/<split>/``.

    Classes are also analysed, from ``predictions.csv`` alone, as anyone can repeat: ``analysis.json``. From these files
    ``report.write_report`` draws the page.

    Args and errors are those of ``restore_run``.

    Returns:
        The content of ``metrics.json``.
    """
    restored = restore_run(run, split, which, source)
    labels = restored.dataset.labels
    evaluator = Evaluator.build(restored.model, restored.plan, restored.examples, labels)
    outputs, insides = evaluator.outputs_and_insides(restored.params)
    about = {"corpus": restored.dataset.name, "split": split, "step": restored.step, "checkpoint": which}
    metrics = about | evaluator.score(outputs)
    folder = run.evaluation(split)
    predictions.write(folder / "predictions.csv", restored.conversations, outputs, labels, insides)
    if isinstance(labels, LabelSpace):
        predictions.write_metrics(folder / "analysis.json", analyse(*predictions.read(folder / "predictions.csv")))
    predictions.write_metrics(folder / "metrics.json", metrics)
    return metrics


def _load(run: RunDirectory, config: Config, source: str | None, split: str) -> Dataset:
    """Returns the run's corpus, after checking that it is the one the run was trained on and has the split."""
    if source is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    dataset, labels = protocol.load(config), run.read_facts().labels
    if dataset.labels != labels:
        raise InputError(
            f"{run.path}: trained on {', '.join(labels.names)}, the data has {', '.join(dataset.labels.names)}"
        )
    if not dataset.splits.get(split):
        raise InputError(f"{dataset.name}: expected a split of {', '.join(dataset.splits)}, found {split!r}")
    return dataset


def _restore(run: RunDirectory, config: Config, model: Model, which: str) -> tuple[int, Any]:
    """Returns the step and the parameters of a checkpoint."""
    checkpoints = run.checkpoints(config.train.select_by, read_only=True)
    try:
        step = checkpoints.resolve(which)
        like = placed(parameter_shapes(model), jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
        return step, checkpoints.restore(step, {"params": like}).state["params"]
    finally:
        checkpoints.close()
