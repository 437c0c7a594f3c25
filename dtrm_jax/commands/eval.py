"""Evaluates a trained model: ``dtrm-eval --checkpoint runs/meld [--split test] [--step best|latest|N]``.

In a checkout, ``python eval.py`` is the same command.
"""

import json

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.conversation import SPLITS

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The run directory of training, wherever it lies now.")
_SPLIT = flags.DEFINE_enum("split", "test", SPLITS, "What to score.")
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best (by the dev metric), latest, or a step.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw data, if not the one the run was trained with.")
flags.mark_flag_as_required("checkpoint")


def main() -> int:
    """Evaluates and prints the scores; returns the exit status."""
    from dtrm_jax import api
    from dtrm_jax.evaluation.analysis.table import format_shifts
    from dtrm_jax.evaluation.table import format_metrics
    from dtrm_jax.run_directory import RunDirectory

    run = RunDirectory(_CHECKPOINT.value)
    metrics = api.evaluate(run, split=_SPLIT.value, checkpoint=_STEP.value, source=_SOURCE.value)
    print(f"{metrics['corpus']} {metrics['split']}, checkpoint of step {metrics['step']} ({metrics['checkpoint']})\n")
    print(format_metrics(metrics))
    folder = run.evaluation(_SPLIT.value)
    if "per_class" in metrics:
        print("\n" + format_shifts(json.loads((folder / "analysis.json").read_text(encoding="utf-8"))))
    print(f"\nwritten to {folder}; to read: {folder / 'report.html'}")
    return 0


def run() -> None:
    """Parses the command line, evaluates and exits."""
    command_line.run(main, module=__name__)
