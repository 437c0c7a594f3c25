"""Further epochs of a run that has come to its end: ``config.train.epochs`` is raised, and it is trained again.

The optimizer goes on where it stopped. Its learning rates, which had come down to 0, go up to what they would be in a
run that had been planned with all epochs, and from there down to 0 again. That is not the same as having trained with
all epochs at once, and the manifest therefore keeps both lengths.
"""

import dataclasses

from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.run_directory import Extension, Manifest, RunDirectory
from dtrm_jax.training.optimizer import schedule


def lengthened(run: RunDirectory, config: Config, manifest: Manifest) -> tuple[Manifest, Extension | None]:
    """Returns the manifest with the extensions of a run, and the one that begins now if there is one.

    Args:
        run: The run directory.
        config: As the run is to go on.
        manifest: Of that config, without extensions.

    Raises:
        InputError: The run has not come to its end.
    """
    if not run.exists():
        return manifest, None
    begun, before = run.read_config(), run.read_manifest()
    manifest = dataclasses.replace(manifest, extensions=before.extensions)
    epochs = config.train.epochs
    known = bool(before.extensions) and before.extensions[-1].epochs == epochs  # it was interrupted right after that
    if epochs <= begun.train.epochs or known:
        return manifest, None
    step, ended = _state(run, config, before.total_steps)
    if not ended:
        raise InputError(
            f"{run.path}: expected a run that has come to its end, found step {step} of {before.total_steps}; "
            f"finish it with --config.train.epochs={begun.train.epochs}, and then give it more"
        )
    extension = Extension(
        after_step=step,
        epochs_before=begun.train.epochs,
        epochs=epochs,
        steps_before=before.total_steps,
        steps=manifest.total_steps,
    )
    return dataclasses.replace(manifest, extensions=(*before.extensions, extension)), extension


def _state(run: RunDirectory, config: Config, total: int) -> tuple[int, bool]:
    """Returns the steps that a run has done, and whether it has come to its end."""
    if not run.all_checkpoints.is_dir():
        return 0, False
    checkpoints = run.checkpoints(config.train.ranked_by, read_only=True)
    step = checkpoints.latest()
    return (0, False) if step is None else (step, step == total or checkpoints.progress(step)["stopped"])


def describe(extension: Extension, config: Config) -> str:
    """Returns a line on what becomes of the learning rates."""
    step = extension.after_step
    before, now = (
        f"{100 * float(schedule(1.0, config.optimizer, steps)(step)):.0f} %"
        for steps in (extension.steps_before, extension.steps)
    )
    return (
        f"{extension.epochs} epochs instead of {extension.epochs_before}: the learning rates, at {before} of their "
        f"peak after step {step}, go on at {now}, as in a run of {extension.steps} steps, and reach 0 at its end"
    )
