"""TensorBoard: event files in the run directory."""

from typing import Any

from tensorboardX import SummaryWriter

from dtrm_jax.config import Config
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training.loggers.logger import measurements


class TensorBoard:
    """Writes every number as a scalar."""

    def __init__(self, writer: SummaryWriter):
        self._writer = writer

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record."""
        for name, value in measurements(record).items():
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Writes what is waiting."""
        self._writer.close()


def open_logger(run: RunDirectory, config: Config, start: int) -> TensorBoard:
    """Opens a new event file; what an interrupted training wrote after step ``start`` is not shown."""
    return TensorBoard(SummaryWriter(str(run.tensorboard), purge_step=start + 1 if start else None))
