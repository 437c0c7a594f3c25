"""Exports a trained model: ``dtrm-export RUN FOLDER [--dtype float16]``; or prunes a run: ``dtrm-export RUN --prune``.

FOLDER, which must be new or empty, gets the best parameters of RUN, a run directory, with all that ``dtrm_jax.load``
and ``dtrm-predict`` need, and a model card. It can be uploaded to the Hugging Face hub as it is. With --prune, of the
checkpoints of RUN the best parameters alone are left, which more than halves its size; it can then not be resumed. In a
checkout, ``python -m dtrm_jax.commands.export`` is the same command.
"""

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.errors import InputError

_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ("float32", "float16"), "Type of the stored parameters; what float16 changes is measured."
)
_LICENSE = flags.DEFINE_string("license", "", "Of the model, for its card, as the hub calls it: mit, cc-by-4.0, ...")
_LANGUAGE = flags.DEFINE_list("language", [], "Languages of the conversations, for the card: en, ...")
_TAGS = flags.DEFINE_list("tags", [], "Further tags, for the card.")
_NAME = flags.DEFINE_string("name", "", "Name of the model, for the card; default: that of the experiment.")
_PRUNE = flags.DEFINE_bool("prune", False, "Export nothing: remove from RUN what only resuming needs.")


def main(*arguments: str) -> int:
    """Exports or prunes; returns the exit status."""
    expected = "RUN with --prune" if _PRUNE.value else "RUN and FOLDER"
    if len(arguments) != (1 if _PRUNE.value else 2):
        raise InputError(f"expected {expected}, found {' '.join(arguments) or 'nothing'}")
    print("\n".join(_prune(*arguments) if _PRUNE.value else _export(*arguments)))
    return 0


def _export(run: str, folder: str) -> list[str]:
    from dtrm_jax.run_directory import RunDirectory
    from dtrm_jax.sharing import Owner, export

    owner = Owner(name=_NAME.value, license=_LICENSE.value, languages=_LANGUAGE.value, tags=_TAGS.value)
    done = export(RunDirectory(run), folder, dtype=_DTYPE.value, owner=owner)
    files = ", ".join(f"{name} {_size(size)}" for name, size in done.sizes.items())
    lines = [f"{done.folder}: the parameters of step {done.step}, {done.choice}, as {_DTYPE.value}", files]
    if done.rounding is not None:
        lines.append(str(done.rounding))
    scores = f"the scores of {', '.join(done.evaluations)}" if done.evaluations else "no scores: evaluate RUN first"
    lines.append(f"the model card README.md has {scores}; read it before you share it")
    return lines


def _prune(run: str) -> list[str]:
    from dtrm_jax.run_directory import RunDirectory
    from dtrm_jax.run_directory.pruning import prune

    done = prune(RunDirectory(run))
    return [f"{run}: {_size(done.before)} before, {_size(done.after)} now: the parameters of step {done.step} are left"]


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def run() -> None:
    """Parses the command line, exports and exits."""
    command_line.run(main, module=__name__, files=True)


if __name__ == "__main__":
    run()
