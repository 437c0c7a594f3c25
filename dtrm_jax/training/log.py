"""The logs of training for people: ``metrics.jsonl``, TensorBoard event files, a progress bar."""

import json
import sys
from types import TracebackType
from typing import Any

import tqdm
from tensorboardX import SummaryWriter

from dtrm_jax.replacing import replacing
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.log_file import read_records


class TrainingLog:
    """Appends records to ``metrics.jsonl`` and the event files; one process of a run writes them."""

    def __init__(self, run: RunDirectory, start: int):
        """Opens the log at step ``start``.

        What an interrupted run logged after its last checkpoint is dropped: the resumed run logs it again.
        """
        file = run.metrics_file
        kept = [record for record in read_records(file) if record["step"] <= start]
        with replacing(file) as rewritten:
            rewritten.writelines(json.dumps(record) + "\n" for record in kept)
        self._file = open(file, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        self._events = SummaryWriter(str(run.tensorboard), purge_step=start + 1 if start else None)

    def write(self, record: dict[str, Any]) -> None:
        """Writes one record; ``step`` and ``split`` name it, its numbers become TensorBoard scalars."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                self._events.add_scalar(f"{record['split']}/{name}", value, record["step"])

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._file.close()
        self._events.close()


def progress_bar(total: int, start: int, name: str, shown: bool) -> tqdm.tqdm:
    """Returns the bar: steps, time left, and what ``set_postfix_str`` is given."""
    return tqdm.tqdm(
        total=total,
        initial=start,
        desc=name,
        unit="step",
        dynamic_ncols=True,
        smoothing=0.1,
        file=sys.stderr,
        disable=not shown,
        mininterval=0.5 if sys.stderr.isatty() else 30,
    )
