"""Draws a report anew: ``python -m dtrm_jax.report RUN [--split test]``; the model is not needed."""

import argparse
import sys
from collections.abc import Sequence

from dtrm_jax.errors import exit_status
from dtrm_jax.report.page import write_report
from dtrm_jax.run_directory import RunDirectory


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes ``report.html`` into the folder of an evaluation; returns the exit status."""
    parser = argparse.ArgumentParser("python -m dtrm_jax.report", description="Draws a report anew.")
    parser.add_argument("run", help="the run directory, after an evaluation")
    parser.add_argument("--split", default="test", help="train, dev or test, or any other folder in eval/")
    parsed = parser.parse_args(arguments)
    return exit_status(lambda: print(f"written to {write_report(RunDirectory(parsed.run), parsed.split)}"))


if __name__ == "__main__":
    sys.exit(main())
