"""Trains a model: ``dtrm-train --config meld [--workdir DIR] [--config.train.epochs=3 ...]``.

The config is the name of one that comes with the package, or the path of a file. Run again, the same command resumes
where it stopped. In a checkout, ``python train.py`` is the same command.
"""

import sys
from pathlib import Path

from absl import flags

from dtrm_jax import command_line, distributed

_CONFIG = command_line.define_config("The experiment: the name of a config, or the path of a config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run directory; default runs/<config name>.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "One of several processes: auto on TPU pods, Slurm and Open MPI, or HOST:PORT,PROCESSES,NUMBER.",
)
flags.mark_flag_as_required("config")


def main() -> int:
    """Trains; returns the exit status."""
    settings = command_line.load_config(_CONFIG)
    if _DISTRIBUTED.value:
        distributed.join(_DISTRIBUTED.value)
    workdir = _WORKDIR.value or f"runs/{settings.name}"
    from dtrm_jax import api  # after the settings are known to be good: it takes seconds to import
    from dtrm_jax.training.loop import Interrupted

    try:
        api.train(settings, workdir)
    except Interrupted as interrupted:
        print(interrupted)
        return 128 + interrupted.signal_number
    command = "python eval.py" if Path(sys.argv[0]).name == "train.py" else "dtrm-eval"
    print(f"evaluate with: {command} --checkpoint {workdir} --split test")
    return 0


def run() -> None:
    """Parses the command line, trains and exits."""
    command_line.run(main, module=__name__)
