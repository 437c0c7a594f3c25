"""What lies behind the scores of classes: ``python -m dtrm_jax.evaluation.analysis PREDICTIONS.csv [OTHER.csv]``.

It needs nothing but ``predictions.csv``, not the model. Every evaluation writes it as ``analysis.json``. With a second
file over the same turns the two are compared.
"""

import argparse
import sys
from collections.abc import Sequence

from dtrm_jax.errors import InputError, exit_status
from dtrm_jax.evaluation.analysis.analyse import analyse, compare
from dtrm_jax.evaluation.analysis.table import format_analysis, format_comparison
from dtrm_jax.evaluation.files import predictions


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the analysis of one file, or the comparison of two; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dtrm_jax.evaluation.analysis", description="What lies behind scores.")
    parser.add_argument("predictions", help="predictions.csv of an evaluation")
    parser.add_argument("other", nargs="?", help="predictions.csv of another one, over the same turns")
    parsed = parser.parse_args(arguments)
    path, other = parsed.predictions, parsed.other
    return exit_status(lambda: print(_compared(path, other) if other else _analysed(path)))


def _analysed(path: str) -> str:
    turns, labels = predictions.read(path)
    try:
        return f"{path}\n\n{format_analysis(analyse(turns, labels))}"
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _compared(path: str, other_path: str) -> str:
    (first, labels), (second, other_labels) = predictions.read(path), predictions.read(other_path)
    try:
        if set(labels.names) != set(other_labels.names):
            found = f"{', '.join(labels.names)} and {', '.join(other_labels.names)}"
            raise InputError(f"expected the same classes, found {found}")
        return f"A  {path}\nB  {other_path}\n\n{format_comparison(compare(first, second, labels))}"
    except InputError as error:
        raise InputError(f"{path}, {other_path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
