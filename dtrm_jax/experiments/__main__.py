"""A table of the paper: ``python -m dtrm_jax.experiments table3 --config configs/iemocap.py [--seeds 5] [--only u]``.

Run again, the same command resumes. To share a table among machines, give each some rows (``--only``) or seeds
(``--only_seeds``), copy the ``*.json`` records into one folder, and print it with ``--collect``.
"""

from absl import flags

from dtrm_jax import command_help, command_line
from dtrm_jax.errors import InputError
from dtrm_jax.experiments.tables import NAMES, table
from dtrm_jax.user_paths import expanded

_CONFIG = command_line.define_config("The experiment that the rows change: a config's name or file.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Runs of each row, with train.seed 0, 1, ...", lower_bound=1)
_ONLY = flags.DEFINE_list("only", [], "Names of the rows to run. If empty, all are run.")
_ONLY_SEEDS = flags.DEFINE_list("only_seeds", [], "Seeds to run, below --seeds. If empty, all are run.")
_TRY = flags.DEFINE_multi_string(
    "try", [], "NAME:SETTING=VALUE, a row of the table tuning; give it again for more settings or more rows."
)
_COLLECT = flags.DEFINE_bool("collect", False, "Run nothing: print the table of what is finished.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where runs are kept; default runs/experiments/<config name>.")
_RECORDS = flags.DEFINE_string("records", None, "Where the small records of finished runs are; default the workdir.")


def main(name: str) -> int:
    """Runs everything that is not done yet, prints the table and writes it; returns the exit status."""
    config = command_line.load_config(_CONFIG)
    runs = expanded(_WORKDIR.value or f"runs/experiments/{config.name}")
    records_folder, seeds = expanded(_RECORDS.value or runs), range(_SEEDS.value)
    # After the settings are known to be good: it takes seconds to import.
    from dtrm_jax.experiments import making
    from dtrm_jax.experiments.grid import Folders
    from dtrm_jax.training.loop import Interrupted

    try:
        if not _COLLECT.value:
            to_run = _only_seeds() or seeds
            folders = Folders(runs, records_folder)
            making.run(name, config, seeds=to_run, only=_ONLY.value, folders=folders, tries=_TRY.value)
        print("\n" + making.write(name, config, seeds=seeds, records_folder=records_folder, tries=_TRY.value))
    except Interrupted as interrupted:
        print(interrupted)
        return 128 + interrupted.signal_number
    return 0


def _only_seeds() -> list[int]:
    if bad := [text for text in _ONLY_SEEDS.value if not text.isdecimal() or int(text) >= _SEEDS.value]:
        raise InputError(f"--only_seeds: expected numbers below {_SEEDS.value} (--seeds), found {', '.join(bad)}")
    return sorted(map(int, _ONLY_SEEDS.value))


def _listing() -> str:
    """Returns the tables and their rows, for ``--help``."""
    width, parts = command_help.help_width(), []
    for name in NAMES:
        whole = table(name, "uav")
        rows = {row.variant.name: row.shown for row in whole.rows}
        of_two = [row for row in table(name, "ua").rows if row.variant.name not in rows]
        rows |= {row.variant.name: f"{row.shown}; without visual features" for row in of_two}
        title = command_help.columns({name: whole.title}, width)
        parts.append(f"{title}\n{command_help.columns(rows, width, indent='    ')}")
    return (
        "tables, and the names of their rows for --only; a table has those of\n"
        "config.model.modalities, or, where that is u, of what the data has:\n"
    ) + "\n".join(parts)


if __name__ == "__main__":
    command_line.run(main, NAMES, listing=_listing)
