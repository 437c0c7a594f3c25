"""What is kept of a finished run of a table: a small JSON file, enough for every table, with no text of the corpus.

    {"variant": "u", "seed": 0, "corpus": "meld", "config": {...}, "data": digests of conversations and features,
     "test": metrics.json, "dev": the scores that chose the checkpoint, "shifts" and "short": of analysis.json,
     "best_test_epoch": the scores of the epoch that the test split would have chosen, if config.train.score_test,
     "predicted": {conversation id: [class of each turn]}}, or [[value of each target] of each turn]

Records of several machines are put together by copying the files into one folder.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dtrm_jax import config as config_lib
from dtrm_jax.config import Config, different_settings
from dtrm_jax.conversation import Conversation, LabelSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import STUDIED
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.files.predictions import PredictedTurn
from dtrm_jax.evaluation.metrics import CLASS_METRICS, VALUE_METRICS
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.run_directory import RunDirectory, signed
from dtrm_jax.training.log import read_records

Record = dict[str, Any]


def settings_of(config: Config) -> dict[str, Any]:
    """Returns a config as nested dicts, without the folders of one machine."""
    settings = config_lib.to_dict(config)
    settings["data"] |= {"source": "", "cache": ""}
    return settings


def file_of(folder: Path, variant: Variant, seed: int) -> Path:
    """Returns where the record of a run is kept."""
    return folder / f"{variant.name}-seed{seed}.json"


def read(folder: Path, variant: Variant, seed: int, config: Config | None = None) -> Record | None:
    """Returns the record of a run, or None if there is none.

    Args:
        folder: Of the records.
        variant: Of the run.
        seed: Of the run.
        config: What the run must have been trained with. A setting that did not exist then had its default.

    Raises:
        InputError: The file is not a record, or of a run with other settings.
    """
    file = file_of(folder, variant, seed)
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        stored = record["config"], record["test"], record["dev"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: expected the record of a run: {error!r}") from error
    if config is None:
        return record
    if changes := different_settings(stored[0], config_lib.to_dict(config), config_lib.to_dict(Config())):
        raise InputError(f"{file}: the run of this table differs: {changes}; use another --records or --workdir")
    return record


def write(folder: Path, variant: Variant, seed: int, run: RunDirectory) -> Record:
    """Makes the record of a run whose test split has been evaluated, and writes it.

    Returns:
        The record.
    """
    config, evaluation = run.read_config(), run.evaluation("test")
    metrics = _read_json(evaluation / "metrics.json")
    record = {"variant": variant.name, "seed": seed, "corpus": metrics["corpus"], "config": settings_of(config)}
    record |= {"data": run.read_facts().data, "test": metrics}
    logged = list(read_records(run.metrics_file))
    chosen = [one for one in logged if one["split"] == "dev" and one["step"] == metrics["step"]]
    if not chosen:
        raise InputError(f"{run.metrics_file}: expected the dev scores of step {metrics['step']}, found none")
    record["dev"] = _scores(chosen[0])
    if config.train.score_test:
        on_test = [one for one in logged if one["split"] == "test"]
        metric = config.train.select_by
        record["best_test_epoch"] = _scores(max(on_test, key=lambda one: signed(metric, one[metric])))
    if "per_class" in metrics:
        analysis = _read_json(evaluation / "analysis.json")
        record["shifts"] = analysis["shifts"]
        # The text of other utterances stays with the corpus.
        record["short"] = analysis["short"] | {"texts": {STUDIED: analysis["short"]["texts"][STUDIED]}}
        turns, labels = predictions.read(evaluation / "predictions.csv")
        record["predicted"] = _by_conversation((turn.dialogue_id, labels.index(turn.prediction)) for turn in turns)
    else:
        turns, _ = predictions.read_values(evaluation / "predictions.csv")
        record["predicted"] = _by_conversation((turn.dialogue_id, list(turn.predictions)) for turn in turns)
    predictions.write_metrics(file_of(folder, variant, seed), record)
    return record


def predicted_turns(
    record: Record, conversations: tuple[Conversation, ...], labels: LabelSpace, file: Path
) -> list[PredictedTurn]:
    """Returns the predictions of a record as the rows of ``predictions.csv``, without probabilities.

    Args:
        record: Of a run.
        conversations: The test split.
        labels: Its label space.
        file: The record's, for errors.

    Raises:
        InputError: The record is of other conversations.
    """
    _check_conversations(record, conversations, file)
    predicted = record["predicted"]
    return [
        PredictedTurn(
            dialogue_id=conversation.id,
            turn=turn.id,
            speaker=turn.speaker,
            utterance=turn.text,
            label=turn.label,
            prediction=labels.names[index],
            probabilities=(),
        )
        for conversation in conversations
        for turn, index in zip(conversation.turns, predicted[conversation.id], strict=True)
    ]


def predicted_values(record: Record, conversations: tuple[Conversation, ...], file: Path) -> np.ndarray:
    """Returns the predictions ``[N, V]`` of a record of real values, turn by turn; see ``predicted_turns``."""
    _check_conversations(record, conversations, file)
    return np.concatenate([np.asarray(record["predicted"][conversation.id]) for conversation in conversations])


def _check_conversations(record: Record, conversations: tuple[Conversation, ...], file: Path) -> None:
    sizes = {conversation.id: len(conversation) for conversation in conversations}
    if {name: len(turns) for name, turns in record.get("predicted", {}).items()} != sizes:
        raise InputError(f"{file}: expected predictions of the test split's conversations, turn by turn")


def _by_conversation(turns: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {}
    for conversation, predicted in turns:
        result.setdefault(conversation, []).append(predicted)
    return result


def _scores(logged: dict[str, Any]) -> dict[str, Any]:
    names = ("step", "epoch", "loss", *CLASS_METRICS, *VALUE_METRICS, "n")
    return {name: logged[name] for name in names if name in logged}


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
