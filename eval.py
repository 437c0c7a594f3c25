"""Evaluates a trained model: ``python eval.py --checkpoint runs/meld [--split test] [--step best|latest|N]``."""

import json

from absl import flags

from dtrm_jax import command_line

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The run directory of train.py, wherever it lies now.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "dev", "test"], "What to score.")
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best (by the dev metric), latest, or a step.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the raw data, if not the one the run was trained with.")
flags.mark_flag_as_required("checkpoint")


def main() -> int:
    """Evaluates; returns the exit status."""
    from dtrm_jax.evaluation.analysis.table import format_shifts
    from dtrm_jax.evaluation.run import evaluate_run
    from dtrm_jax.evaluation.table import format_metrics
    from dtrm_jax.report import write_report
    from dtrm_jax.run_directory import RunDirectory

    run = RunDirectory(_CHECKPOINT.value)
    metrics = evaluate_run(run, _SPLIT.value, _STEP.value, _SOURCE.value)
    write_report(run, _SPLIT.value)
    print(f"{metrics['corpus']} {metrics['split']}, checkpoint of step {metrics['step']} ({metrics['checkpoint']})\n")
    print(format_metrics(metrics))
    folder = run.evaluation(_SPLIT.value)
    if "per_class" in metrics:
        print("\n" + format_shifts(json.loads((folder / "analysis.json").read_text(encoding="utf-8"))))
    print(f"\nwritten to {folder}; to read: {folder / 'report.html'}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
