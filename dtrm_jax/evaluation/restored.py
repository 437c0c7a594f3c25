"""Evaluates a checkpoint from its run directory alone."""

import dataclasses
from typing import Any

import jax

from dtrm_jax.data import builders
from dtrm_jax.data.packing import choose_shape
from dtrm_jax.data.tokenize import tokenize
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation import predictions
from dtrm_jax.evaluation.evaluate import Evaluator, parameter_shapes
from dtrm_jax.models.dialogue_trm import build_model
from dtrm_jax.run_directory import RunDirectory, placed


def evaluate_run(run: RunDirectory, split: str, which: str, source: str | None) -> dict[str, Any]:
    """Scores a checkpoint on a split and writes ``eval/<split>/metrics.json`` and ``predictions.csv``.

    Args:
        run: The run directory, wherever it lies now.
        split: train, dev or test.
        which: The checkpoint: "best" (by the dev metric), "latest" or a step.
        source: Folder of the raw files, if it is not the one the run was trained with.

    Returns:
        The content of ``metrics.json``.

    Raises:
        InputError: The directory is not a run, the checkpoint or the split does not exist, or the data is other data.
    """
    config, facts = run.read_config(), run.read_facts()
    data = config.data if source is None else dataclasses.replace(config.data, source=source)
    dataset = builders.load(data)
    if dataset.labels != facts.labels:
        raise InputError(f"{run.path}: trained on {', '.join(facts.labels.names)}, the data has {dataset.labels.names}")
    if not dataset.splits.get(split):
        raise InputError(f"{dataset.name}: expected a split of {', '.join(dataset.splits)}, found {split!r}")
    conversations = dataset.splits[split]
    tokenized = tokenize(conversations, facts.labels, run.read_tokenizer(), config.tokens)
    shape = choose_shape([conversation.lengths for conversation in tokenized], config.packing)
    model = build_model(config, facts.encoder, len(facts.labels), shape)
    checkpoints = run.checkpoints(config.train.select_by, read_only=True)
    try:
        step = checkpoints.resolve(which)
        like = placed(parameter_shapes(model), jax.sharding.SingleDeviceSharding(jax.local_devices()[0]))
        params = checkpoints.restore(step, {"params": like}).state["params"]
    finally:
        checkpoints.close()
    evaluator = Evaluator.build(model, tokenized, facts.labels)
    probabilities = evaluator.probabilities(params)
    metrics = {"corpus": dataset.name, "split": split, "step": step, "checkpoint": which} | evaluator.score(
        probabilities
    )
    folder = run.evaluation(split)
    predictions.write(folder / "predictions.csv", conversations, probabilities, facts.labels)
    predictions.write_metrics(folder / "metrics.json", metrics)
    return metrics
