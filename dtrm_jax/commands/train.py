"""Trains a model: ``dtrm-train --config meld [--workdir DIR] [--config.train.epochs=3 ...]``.

The config is the name of one that comes with the package, or the path of a file. Run again, the same command resumes
where it stopped; so does ``dtrm-train --workdir DIR`` alone, with the settings that the run was begun with. With
``--config.train.epochs=20`` it gives a finished run more epochs. In a checkout, ``python train.py`` is the same
command.
"""

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from absl import flags

from dtrm_jax import command_line, config_files, distributed
from dtrm_jax.errors import InputError
from dtrm_jax.user_paths import expanded

_CONFIG = command_line.define_config("The experiment: the name of a config, or the path of a config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run directory; default runs/<config name>.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "One of several processes: auto on TPU pods, Slurm and Open MPI, or HOST:PORT,PROCESSES,NUMBER.",
)


def main() -> int:
    """Trains; returns the exit status."""
    settings = command_line.load_config(_CONFIG)
    if _DISTRIBUTED.value:
        distributed.join(_DISTRIBUTED.value)
    workdir = _WORKDIR.value or f"runs/{settings.name}"
    from dtrm_jax.training import loop  # after the settings are known to be good: it takes seconds to import

    try:
        finished = loop.train(settings, workdir)
    except loop.Interrupted as interrupted:
        print(interrupted)
        return 128 + interrupted.signal_number
    print(f"evaluate with: {_evaluation(workdir, finished.scorable)}")
    return 0


def _kept_config(arguments: Sequence[str]) -> list[str]:
    """Returns the flag for the config that a run directory keeps, if one is named and no config is."""
    names = [argument.lstrip("-").partition("=")[0] for argument in arguments]
    if "config" in names or "workdir" not in names:
        return []
    place = names.index("workdir")
    workdir = arguments[place].partition("=")[2] or "".join(arguments[place + 1 : place + 2])
    try:
        folder = expanded(workdir)
    except InputError:  # which training says in a line
        return []
    return [f"--config={folder}"] if (folder / config_files.KEPT).is_file() else []


def _evaluation(workdir: str, scorable: Collection[str]) -> str:
    """Returns the command that evaluates the run: its test split, if there is one with annotations."""
    command = ["python", "eval.py"] if Path(sys.argv[0]).name == "train.py" else ["dtrm-eval"]
    split = "test" if "test" in scorable else "dev"
    return shlex.join([*command, "--checkpoint", workdir, "--split", split])


def run() -> None:
    """Parses the command line, trains and exits."""
    sys.argv[1:1] = _kept_config(sys.argv[1:])
    command_line.run(main, module=__name__)
