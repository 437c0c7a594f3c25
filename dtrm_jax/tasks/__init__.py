"""Kinds of emotions: how each is learned, predicted, scored and written.

Importing this is cheap: JAX is imported only by what computes with it.
"""

from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.tasks.classes import Classes, ClassTurn
from dtrm_jax.tasks.interface import Targets, Task
from dtrm_jax.tasks.metrics import METRICS, Metric
from dtrm_jax.tasks.rows import PredictedTurn
from dtrm_jax.tasks.values import Values, ValueTurn

# By their names in files. A file's columns may be those of one alone.
TASKS: dict[str, type[Task]] = {task.kind: task for task in (Classes, Values)}


def task_of(labels: LabelSpace | ValueSpace, neutral: str = "") -> Task:
    """Returns the task of predicting these emotions.

    Args:
        labels: The emotions of a dataset.
        neutral: The class that stands for no emotion (``config.data.neutral``); empty if no class is named so.

    Raises:
        InputError: The neutral class is not one of ``labels``.
        TypeError: No task has labels of this type.
    """
    task = next((task for task in TASKS.values() if task.space is type(labels)), None)
    if task is None:
        raise TypeError(f"no task of TASKS has {type(labels).__name__} as its space")
    return task(labels).with_neutral(neutral)


__all__ = [
    "METRICS",
    "TASKS",
    "ClassTurn",
    "Classes",
    "Metric",
    "PredictedTurn",
    "Targets",
    "Task",
    "ValueTurn",
    "Values",
    "task_of",
]
