"""A third kind of emotions is one subclass and one entry: its file is written, read back and reported."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from dtrm_jax import config as config_lib
from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.terminal import format_metrics
from dtrm_jax.json_file import write_json
from dtrm_jax.report import write_report
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.tasks import TASKS, Classes, ClassTurn, Targets, task_of
from tests.factories import tiny_config
from tests.pages import parse


@dataclasses.dataclass(frozen=True, slots=True)
class Scale(LabelSpace):
    """Emotions in order, such as calm, tense, furious."""


@dataclasses.dataclass(frozen=True)
class Ordinal(Classes):
    """The expected rank of the emotion is what is written of a prediction."""

    kind = "ordinal"
    emotions = "degrees of emotion"
    space = Scale
    analysed = False
    columns = "degree and predicted_<name> per degree"

    @property
    def header(self) -> list[str]:
        return ["degree", *(f"predicted_{name}" for name in self.labels.names)]

    @classmethod
    def from_header(cls, names: Sequence[str]):
        degrees = tuple(name.removeprefix("predicted_") for name in names[1:])
        return (cls(Scale(degrees)), len(names)) if names[:1] == ["degree"] else None

    def predicted(self, outputs_C: np.ndarray) -> dict[str, object]:
        return dict(zip(self.header[1:], outputs_C, strict=True))

    def cells(self, turn: Turn, outputs_C: np.ndarray) -> list[str]:
        return [turn.label or "", *map(str, outputs_C)]

    def parse(self, cells: Sequence[str], turn: Mapping[str, object]) -> ClassTurn:
        outputs = tuple(map(float, cells[1:]))
        prediction = self.labels.names[int(np.argmax(outputs))]
        return ClassTurn(**turn, label=cells[0] or None, prediction=prediction, probabilities=outputs)


def test_a_third_task_is_one_subclass_and_one_entry(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "ordinal", Ordinal)
    task = task_of(Scale(("calm", "tense", "furious")))
    assert isinstance(task, Ordinal) and isinstance(task_of(LabelSpace(("x", "y"))), Classes)
    turns = tuple(Turn(str(n), "A", f"turn {n}", label=label) for n, label in enumerate(("calm", None, "tense")))
    conversation, outputs = Conversation("c", turns), np.eye(3, dtype=np.float32)[[0, 1, 2]]
    run = RunDirectory(tmp_path)
    folder = run.evaluation("test")
    predictions.write(folder / "predictions.csv", [conversation], [outputs], task)
    read, found = predictions.read(folder / "predictions.csv")
    assert found == task and [turn.prediction for turn in read] == ["calm", "tense", "furious"]

    labels, values = task.targets(conversation)
    metrics = task.score(Targets(labels, values), outputs)
    assert metrics["accuracy"] == 0.5 and "accuracy" in format_metrics(metrics, task)
    about = {"corpus": "made up", "split": "test", "step": 1, "checkpoint": "latest"}
    write_json(folder / "metrics.json", about | metrics)
    (tmp_path / "config.json").write_text(json.dumps(config_lib.to_dict(tiny_config())))
    page = parse(write_report(run, "test").read_text(encoding="utf-8"))
    assert [card.find("p", class_="big").text for card in page.find_all("div", class_="card")][1] == "50.00"
    assert [turn.find("p", class_="v").text for turn in page.find_all("li", class_="t")][2] == "predicted 2"
