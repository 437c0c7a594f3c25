"""The record of a finished run of a table: a small JSON file, enough for every table, without text of the corpus.

    {"variant": "u", "seed": 0, "corpus": "meld", "config": {...}, "data": digests of conversations and features,
     "test": metrics.json, "dev": the scores that chose the checkpoint, "shifts" and "short": of analysis.json,
     "best_test_epoch": the scores of the epoch that the test split would have chosen, if config.train.score_test,
     "cost": seconds of training and evaluation, and on what, if they were measured,
     "planner": version of the planner of packs that the run was trained with, if it is not 1,
     "predicted": {conversation id: [class of each turn]}}, or [[value of each target] of each turn]

Of a table that is judged on dev, "split" is "dev": what was predicted is that split, and there is nothing of test.

Records of several machines are put together by copying the files into one folder.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dtrm_jax import config as config_lib
from dtrm_jax.config import Config, different_settings
from dtrm_jax.conversation import Conversation
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.analysis.groups import STUDIED
from dtrm_jax.evaluation.files import predictions, results
from dtrm_jax.experiments.cost import cost_of
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.json_file import read_json, write_json
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records
from dtrm_jax.tasks import METRICS, Task
from dtrm_jax.user_paths import expanded

_UNSAID = (("planner", 1), ("split", "test"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """The record of a run.

    Attributes:
        variant: Name of the variant that was run.
        seed: Of the run.
        corpus: Name of the dataset.
        config: The settings, without the folders of one machine.
        split: What was scored and predicted: test or dev.
        test: The content of ``metrics.json`` of the test split; None if that was not scored.
        dev: The dev scores that chose the checkpoint.
        data: ``fingerprint`` of the dataset; empty in records from before it was kept.
        best_test_epoch: The test scores of the epoch that the test split would have chosen, if they were logged.
        shifts: Of ``analysis.json``; None if the task has none.
        short: Of ``analysis.json``, with the text that the paper studies only; None if the task has none.
        planner: ``Manifest.planner`` of the run.
        predicted: Conversation id -> what was predicted of each turn (``Task.recorded``).
        cost: The fields of ``Cost``; None where it was not measured, as before version 0.3.0.
    """

    variant: str
    seed: int
    corpus: str
    config: Mapping[str, Any]
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    split: str = "test"
    test: Mapping[str, Any] | None = None
    dev: Mapping[str, Any]
    best_test_epoch: Mapping[str, Any] | None = None
    shifts: Mapping[str, Any] | None = None
    short: Mapping[str, Any] | None = None
    planner: int = 1
    cost: Mapping[str, Any] | None = None
    predicted: Mapping[str, list[Any]] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the content of the file; fields that are None, the first planner and the test split are left out."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {name: value for name, value in values.items() if (name, value) not in _UNSAID}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Record":
        """Inverts ``to_json``; raises TypeError if a required field is missing or one is unknown."""
        record = cls(**values)
        if record.scores is None:
            raise TypeError(f"there are no scores of {record.split}")
        return record

    @property
    def scores(self) -> Mapping[str, Any] | None:
        """Of the split that was scored."""
        return {"test": self.test, "dev": self.dev}.get(self.split)

    def score(self, path: str) -> float | None:
        """Returns the number at a path with dots, such as ``test.accuracy`` or ``shifts.intra.accuracy``."""
        first, _, rest = path.partition(".")
        return _at(getattr(self, first), rest)


def _at(values: Mapping[str, Any], path: str) -> float | None:
    """Returns the number at a path in nested objects, of which targets may have dots in their names."""
    if path in values:
        return values[path]
    name = max((name for name in values if path.startswith(f"{name}.")), key=len)
    return _at(values[name], path.removeprefix(f"{name}."))


def settings_of(config: Config) -> dict[str, Any]:
    """Returns a config as nested dicts, without the folders of one machine.

    Of an absolute path to an encoder, or to a run to begin with, the last part is left.
    """
    settings = config_lib.to_dict(config)
    settings["data"].update(source="", cache="")
    for section, name in ((settings["model"]["encoder"], "pretrained"), (settings["train"], "init_from")):
        path = expanded(section[name])
        if path.is_absolute():
            section[name] = path.name
    return settings


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a record or a table; those that did not exist yet are as versions without them behaved.

    Raises:
        InputError: They are not those of a config.
    """
    return settings_of(config_lib.from_dict(dict(settings)))


def compared(settings: Mapping[str, Any], *, takes_features: bool) -> dict[str, Any]:
    """Returns the settings on which a run's outcome may depend: a bound of features is none where there are none."""
    data = settings["data"]
    return {**settings, "data": data if takes_features else {**data, "feature_bound": 0.0}}


def file_of(folder: Path, variant: Variant, seed: int) -> Path:
    """Returns where the record of a run is kept."""
    return folder / f"{variant.name}-seed{seed}.json"


def read(folder: Path, variant: Variant, seed: int, config: Config, *, split: str = "test") -> Record | None:
    """Returns the record of a run, or None if there is none.

    Args:
        folder: Of the records.
        variant: Of the run.
        seed: Of the run.
        config: The settings of the run must equal these. One that did not exist then is as versions without it behaved.
        split: What must have been scored.

    Raises:
        InputError: The file is not a record, or of a run with other settings or another split.
    """
    file = file_of(folder, variant, seed)
    if not file.is_file():
        return None
    values = read_json(file, "the record of a run")
    try:
        record = Record.from_json(values)
    except TypeError as error:
        raise InputError(f"{file}: expected the record of a run: {error}") from error
    if record.split != split:
        raise InputError(f"{file}: expected what was scored on {split}, found {record.split}; use another --records")
    try:
        kept = completed(record.config)
    except InputError as error:
        raise InputError(f"{file}: expected the record of a run: {error}") from error
    with_features = bool(config.model.feature_modalities)
    there, here = (compared(one, takes_features=with_features) for one in (kept, settings_of(config)))
    if changes := different_settings(there, here):
        raise InputError(f"{file}: the run of this table differs: {changes}; use another --records or --workdir")
    return record


def write(folder: Path, variant: Variant, seed: int, run: RunDirectory, *, split: str = "test") -> Record:
    """Makes the record of a run of which a split has been evaluated, test or dev, and writes it.

    Returns:
        The record.
    """
    config, evaluation = run.read_config(), run.evaluation(split)
    metrics, manifest = results.read(evaluation / results.METRICS, ("corpus", "step")), run.read_manifest()
    turns, task = predictions.read(evaluation / "predictions.csv")
    predicted: dict[str, list[Any]] = {}
    for turn in turns:
        predicted.setdefault(turn.conversation, []).append(task.recorded(turn))
    record = Record(
        variant=variant.name,
        seed=seed,
        corpus=metrics["corpus"],
        config=settings_of(config),
        data=manifest.data,
        planner=manifest.planner,
        cost=None if (cost := cost_of(run)) is None else dataclasses.asdict(cost),
        split=split,
        predicted=predicted,
        **_logged(run, config, metrics["step"]),
        **(_of_test(evaluation, metrics, task) if split == "test" else {}),
    )
    write_json(file_of(folder, variant, seed), record.to_json())
    return record


def _logged(run: RunDirectory, config: Config, step: int) -> dict[str, Any]:
    """Returns the dev scores of the checkpoint and, if the test split was scored, those of its best epoch."""
    logged = list(read_records(run.metrics_file))
    chosen = [one for one in logged if one["split"] == "dev" and one["step"] == step]
    if not chosen:
        raise InputError(f"{run.metrics_file}: expected the dev scores of step {step}, found none")
    found = {"dev": _scores(chosen[0])}
    if config.train.score_test:
        on_test, metric = [one for one in logged if one["split"] == "test"], METRICS[config.train.select_by]
        found["best_test_epoch"] = _scores(max(on_test, key=lambda one: metric.signed(one[metric.name])))
    return found


def _scores(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the scores of a whole split, without those of single classes or targets."""
    names = {"step", "epoch", "loss", "n", *METRICS}
    return {name: value for name, value in logged.items() if name in names}


def _of_test(evaluation: Path, metrics: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Returns the fields that a record has of the test split alone."""
    of_the_run = ("source", "data")  # which the record says of the run itself
    found = {"test": {name: value for name, value in metrics.items() if name not in of_the_run}}
    if not task.analysed:
        return found
    analysis = results.read(evaluation / results.ANALYSIS, ("shifts", "short"))
    short = analysis["short"]
    # The text of other utterances stays with the corpus.
    return found | {"shifts": analysis["shifts"], "short": short | {"texts": {STUDIED: short["texts"][STUDIED]}}}


def predictions_of(record: Record, conversations: Sequence[Conversation], file: Path) -> np.ndarray:
    """Returns the predictions of a record, turn by turn, as ``Task.arrays`` does: ``[N, ___]``.

    Args:
        record: Of a run.
        conversations: The split that was predicted.
        file: The record's, for errors.

    Raises:
        InputError: The record is of other conversations.
    """
    sizes = {conversation.id: len(conversation) for conversation in conversations}
    if {name: len(turns) for name, turns in record.predicted.items()} != sizes:
        raise InputError(f"{file}: expected predictions of the {record.split} split's conversations, turn by turn")
    return np.concatenate([np.asarray(record.predicted[conversation.id]) for conversation in conversations])


def annotations_of(conversations: Sequence[Conversation], task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Returns the conversation ``[N]`` and the annotations ``[N, ___]`` of every turn, as ``Task.statistics`` takes."""
    conversation_N = np.repeat(np.arange(len(conversations)), [len(conversation) for conversation in conversations])
    found = [task.annotations(task.targets(conversation)) for conversation in conversations]
    return conversation_N, np.concatenate(found)
