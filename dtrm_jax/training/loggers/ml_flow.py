"""MLflow. Where its server or its files are is its own to say: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``."""

import json
import os
import re
import time
from typing import Any

import mlflow
from mlflow.entities import Metric, Param

from dtrm_jax.config import Config, to_dict
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.settings import flat
from dtrm_jax.training.loggers.logger import known_as, measurements, remember

NAME = "mlflow"
_NOT_IN_NAMES = re.compile(r"[^\w.\- :/]")  # what MLflow refuses in the name of a metric
_AT_ONCE = 100  # settings in a request, as many as every server takes


class MLflow:
    """Logs every number under the training's own steps, without MLflow's notion of an active run."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str):
        self._client, self._run_id = client, run_id

    def write(self, record: dict[str, Any]) -> None:
        """Logs one record in one request."""
        now = time.time_ns() // 1_000_000
        numbers = [
            Metric(_NOT_IN_NAMES.sub("_", name), float(value), now, record["step"])
            for name, value in measurements(record).items()
        ]
        self._client.log_batch(self._run_id, metrics=numbers)

    def close(self) -> None:
        """Marks the run as finished."""
        self._client.set_terminated(self._run_id)


def open_logger(run: RunDirectory, config: Config, start: int) -> MLflow:
    """Begins a run, with all settings as its parameters, or goes on with the one that this training has there."""
    client = mlflow.MlflowClient()
    run_id = known_as(run, NAME)
    if run_id is not None:
        client.update_run(run_id, status="RUNNING")
        return MLflow(client, run_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "dtrm_jax")
    experiment = client.get_experiment_by_name(name)
    experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
    run_id = client.create_run(experiment_id, run_name=config.name).info.run_id
    settings = [Param(path, _as_text(value)) for path, value in flat(to_dict(config)).items()]
    for first in range(0, len(settings), _AT_ONCE):
        client.log_batch(run_id, params=settings[first : first + _AT_ONCE])
    remember(run, NAME, run_id)
    return MLflow(client, run_id)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
