"""Evaluates a trained model: ``dtrm-eval --checkpoint runs/meld [--split test] [--step best|latest|N]``.

In a checkout, ``python eval.py`` is the same command.
"""

import sys

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.conversation import SPLITS
from dtrm_jax.errors import printable

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The run directory of training, wherever it lies now.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "What to score.")
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best (by the dev metric), latest, or a step.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw data, if not the one the run was trained with.")
_NAME = flags.DEFINE_string(
    "name", None, "Results go to eval/<split>@<name>; default: eval/<split>, and for other data the name of its folder."
)
flags.mark_flag_as_required("checkpoint")


def main() -> int:
    """Evaluates and prints the scores; returns the exit status."""
    from dtrm_jax.evaluation.run import evaluate_run
    from dtrm_jax.evaluation.terminal import format_evaluation
    from dtrm_jax.report import write_report
    from dtrm_jax.run_directory import RunDirectory

    run = RunDirectory(_CHECKPOINT.value)
    evaluation = evaluate_run(run, split=_SPLIT.value, checkpoint=_STEP.value, source=_SOURCE.value, name=_NAME.value)
    report = write_report(run, evaluation.folder.name)
    for note in evaluation.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    print(format_evaluation(evaluation))
    print(f"\nwritten to {evaluation.folder}; to read: {report}")
    return 0


def run() -> None:
    """Parses the command line, evaluates and exits."""
    command_line.run(main, module=__name__)
