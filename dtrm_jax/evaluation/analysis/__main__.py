"""What lies behind the scores of classes: ``python -m dtrm_jax.evaluation.analysis PREDICTIONS.csv [OTHER.csv]``.

It needs nothing but ``predictions.csv``, not the model. Every evaluation writes it as ``analysis.json``. With a second
file over the same turns the two are compared.
"""

import argparse
import sys
from collections.abc import Sequence

from dtrm_jax.errors import InputError, exit_status
from dtrm_jax.evaluation.analysis.analyse import analyse, compare
from dtrm_jax.evaluation.analysis.terminal import format_analysis, format_comparison
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.tasks import Classes, ClassTurn


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the analysis of one file, or the comparison of two; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dtrm_jax.evaluation.analysis", description="What lies behind scores.")
    parser.add_argument("predictions", help="predictions.csv of an evaluation")
    parser.add_argument("other", nargs="?", help="predictions.csv of another one, over the same turns")
    parser.add_argument("--neutral", default="", help="the class that stands for no emotion, which micro F1 leaves out")
    parsed = parser.parse_args(arguments)
    paths = [path for path in (parsed.predictions, parsed.other) if path is not None]
    return exit_status(lambda: print(_told(paths, parsed.neutral)))


def _told(paths: Sequence[str], neutral: str) -> str:
    """Returns the analysis of one file, or the comparison of two, as text."""
    files = [_read(path, neutral) for path in paths]
    try:
        return _compared(paths, files) if len(files) == 2 else _analysed(paths, files)
    except InputError as error:
        raise InputError(f"{', '.join(paths)}: {error}") from error


def _read(path: str, neutral: str) -> tuple[list[ClassTurn], Classes]:
    turns, task = predictions.read(path)
    if not task.analysed:
        raise InputError(f"{path}: expected emotions that are classes, found {task.emotions}")
    return turns, task.with_neutral(neutral)


def _analysed(paths: Sequence[str], files: Sequence[tuple[list[ClassTurn], Classes]]) -> str:
    ((turns, task),) = files
    return f"{paths[0]}\n\n{format_analysis(analyse(turns, task), task)}"


def _compared(paths: Sequence[str], files: Sequence[tuple[list[ClassTurn], Classes]]) -> str:
    (first, task), (second, other) = files
    if set(task.labels.names) != set(other.labels.names):
        found = f"{', '.join(task.labels.names)} and {', '.join(other.labels.names)}"
        raise InputError(f"expected the same classes, found {found}")
    return f"A  {paths[0]}\nB  {paths[1]}\n\n{format_comparison(compare(first, second, task), task)}"


if __name__ == "__main__":
    sys.exit(main())
