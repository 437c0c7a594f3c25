"""``run.json``: the facts, besides the config, from which the model and the data of a run are rebuilt."""

import dataclasses
import json
from typing import Any

from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.models import encoders
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.tasks import TASKS, task_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """The facts about the run whose parameters another one began with.

    Attributes:
        name: Of its experiment.
        corpus: Name of its dataset.
        step: Its training steps.
        data: ``fingerprint`` of its dataset.
        params: Digest of its parameters.
        encoder: Whether it has a text encoder.
    """

    name: str
    corpus: str
    step: int
    data: dict[str, str]
    params: str
    encoder: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extension:
    """Further epochs of a run that had come to its end.

    Attributes:
        after_step: The steps it had done.
        epochs_before: Those it was planned for until then.
        epochs: Those it is planned for since.
        steps_before: As ``epochs_before``.
        steps: As ``epochs``.
    """

    after_step: int
    epochs_before: int
    epochs: int
    steps_before: int
    steps: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """The facts, besides the config, from which the model and the data of a run are rebuilt.

    Attributes:
        corpus: Name of the dataset.
        labels: Its label space: classes, or real values.
        encoder: Sizes of the utterance encoder. If None, no text is encoded.
        shape: Shape of a training pack.
        total_steps: Steps of the whole run.
        data: ``fingerprint`` of the dataset; empty in runs from before it was kept.
        notes: How the dataset was read and split (``Dataset.notes``).
        planner: Version of the planner of packs that the run was begun with (``packing.PLANNER``); 1 in runs from
            before it was kept.
        init_from: The run whose parameters it began with, if there is one.
        extensions: The further epochs that it was given, in order.
    """

    corpus: str
    labels: LabelSpace | ValueSpace
    encoder: Encoder | None
    shape: PackShape
    total_steps: int
    data: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    planner: int = 1
    init_from: Origin | None = None
    extensions: tuple[Extension, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest as nested dicts of JSON types."""
        kind = task_of(self.labels).kind
        encoder = None if self.encoder is None else encoders.to_dict(self.encoder)
        values = dataclasses.asdict(self) | {"labels": {kind: self.labels.names}, "encoder": encoder}
        return json.loads(json.dumps(values))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Manifest":
        """Inverts ``to_dict``."""
        (kind, names), shape = next(iter(values["labels"].items())), values["shape"]
        return cls(
            corpus=values["corpus"],
            labels=TASKS[kind].space(tuple(names)),
            encoder=None if values["encoder"] is None else encoders.from_dict(values["encoder"]),
            shape=PackShape(
                rows=tuple(map(tuple, shape["rows"])),
                utterances=shape["utterances"],
                values=shape["values"],
                features=tuple(map(tuple, shape["features"])),
                own_tokens=shape["own_tokens"],
            ),
            total_steps=values["total_steps"],
            data=values.get("data", {}),
            notes=tuple(values.get("notes", ())),
            planner=values.get("planner", 1),
            init_from=Origin(**values["init_from"]) if values.get("init_from") else None,
            extensions=tuple(Extension(**one) for one in values.get("extensions", ())),
        )
