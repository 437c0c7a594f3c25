"""Trains DialogueTRM: ``python train.py --config configs/meld.py [--workdir DIR] [--config.train.epochs=3 ...]``.

Run again, the same command resumes where it stopped.
"""

from absl import flags
from ml_collections import config_flags

from dtrm_jax import command_line, distributed

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, a file of configs/.")
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
    from dtrm_jax.training import loop  # after the settings are known to be good: it takes seconds to import

    try:
        loop.train(settings, workdir)
    except loop.Interrupted as interrupted:
        print(interrupted)
        return 128 + interrupted.signal_number
    print(f"evaluate with: python eval.py --checkpoint {workdir} --split test")
    return 0


if __name__ == "__main__":
    command_line.run(main)
