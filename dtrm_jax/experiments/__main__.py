"""``python -m dtrm_jax.experiments planted --config configs/demo.py [--seeds 3] [--only text,all] [--workdir DIR]``."""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from dtrm_jax import command_line

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment that the settings change.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs of each setting.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", [], "Names of the settings to run; all if empty.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the runs are kept; default runs/<table>.")
flags.mark_flag_as_required("config")

_TABLES = ("planted",)


def main(table: str) -> int:
    """Runs what is not done yet and prints the table; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    from dtrm_jax.experiments import planted  # after the settings are known to be good: it takes seconds to import
    from dtrm_jax.training.loop import Interrupted

    folder = Path(_WORKDIR.value or f"runs/{table}")
    try:
        print("\n" + planted.run(config, _SEEDS.value, _ONLY.value, folder))
    except Interrupted as interrupted:
        print(interrupted)
        return 128 + interrupted.signal_number
    return 0


if __name__ == "__main__":
    command_line.run(main, _TABLES)
